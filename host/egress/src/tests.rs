//! Requests, responses and errors, against servers on this machine.

mod addresses;
mod answers;
mod architecture;
mod bodies;
mod departures;
mod secrets;
mod support;
mod tls;
