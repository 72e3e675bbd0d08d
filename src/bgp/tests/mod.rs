//! Drives the BGP cores through their public methods, on a virtual clock.
mod adj_rib_in;
mod adj_rib_out;
mod clock;
mod connection;
mod golden;
mod network;
mod octets;
mod oracle;
mod peer;
mod properties;
mod scene;
mod send_hold;
mod strategies;
mod strict;
mod wire;
