//! Chat: messages rendered by the model's own template.

mod channels;
mod encode;
mod jinja;
mod limits;
mod methods;
mod reasoning;
mod split;
mod template;

pub use template::{ChatTemplate, Message};

pub(crate) use encode::encode_chat;
pub(crate) use reasoning::ReasoningSplitter;
pub(crate) use split::Split;
