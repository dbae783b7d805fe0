//! What leaves, what comes back, and what is said of it, against servers on this machine.

mod addresses;
mod answers;
mod architecture;
mod bodies;
mod departures;
mod secrets;
mod support;
mod tls;
