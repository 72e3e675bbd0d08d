//! The server of metrics, on the loopback interface.
mod server;
