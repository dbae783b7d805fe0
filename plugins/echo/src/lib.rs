//! t
use weir_sdk::bindings::exports::weir::connector::{descriptor, inbound, outbound, identity};
use weir_sdk::bindings::weir::connector::types::*;
struct E;
impl descriptor::Guest for E { fn describe() -> descriptor::Manifest { panic!() } }
impl inbound::Guest for E { fn receive(_w: inbound::Webhook) -> Result<Vec<InboundEvent>, String> { Ok(vec![]) } }
impl outbound::Guest for E { fn prepare(_d: outbound::Draft) -> Vec<outbound::Finding> { vec![] }
 fn send(_c: Channel, _v: Conversation, _d: outbound::Draft) -> Result<outbound::Sent, Failure> { panic!() } }
impl identity::Guest for E { fn who_am_i(_c: Channel) -> Result<identity::Profile, Failure> { panic!() } fn connected(_c: Channel) -> Result<(), Failure> { Ok(()) } fn check(_c: Channel) -> Result<Vec<identity::Finding>, Failure> { Ok(vec![]) } }
impl weir_sdk::bindings::signals::exports::weir::connector::signals::Guest for E { fn show(_c: Channel, _v: Conversation, _s: weir_sdk::bindings::signals::exports::weir::connector::signals::Signal) -> Result<(), Failure> { Ok(()) } }
weir_sdk::bindings::export!(E);
weir_sdk::bindings::signals::export!(E);
