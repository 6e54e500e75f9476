//! Chat: messages rendered by the model's own template.

mod encode;
mod jinja;
mod limits;
mod methods;
mod reasoning;
mod template;

pub use template::{ChatTemplate, Message};

pub(crate) use encode::encode_chat;
pub(crate) use reasoning::{ReasoningSplitter, Split};
