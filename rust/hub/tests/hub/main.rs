//! The Hub client against a scripted hub on the loopback interface.
//!
//! Tests named `row_NN_…` are rows of the project's fault table.

mod access;
mod bodies;
mod caching;
mod children;
mod limits;
mod naming;
mod progress;
mod python;
mod redirects;
mod resuming;
mod selecting;
mod server;
mod support;
mod tls;
mod upkeep;
