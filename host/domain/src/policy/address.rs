//! Which addresses a connection may go to. Judged on every address that a name resolves to, and on addresses written as
//! such; what is dialled is what was judged.

use std::net::IpAddr;

use crate::policy::Reach;

/// An address that may not be dialled, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address} is {what}; only public addresses may be reached")]
pub struct AddressRefusal {
    /// The address, in its canonical form.
    pub address: IpAddr,
    /// What kind of address it is.
    pub what: &'static str,
}

/// Whether `address` may be dialled by a request that may reach `reach`.
///
/// # Errors
/// The address is not among those.
pub fn admit(address: IpAddr, reach: Reach) -> Result<(), AddressRefusal> {
    let address = address.to_canonical();
    match reach {
        Reach::OperatorSet => Ok(()),
        Reach::Loopback if address.is_loopback() => Ok(()),
        Reach::Loopback | Reach::Public => Err(AddressRefusal {
            address,
            what: "not yet judged",
        }),
    }
}
