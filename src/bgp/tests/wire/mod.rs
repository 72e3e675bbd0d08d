//! The codec: every error of RFC 4271 §6.1 to §6.3 with the NOTIFICATION that answers it, the error
//! handling of RFC 7606, and what our own messages look like.
mod error_handling;
mod header;
mod notification;
mod open;
mod update;
