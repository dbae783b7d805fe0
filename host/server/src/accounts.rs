//! Accounts: connecting them, keeping their credentials valid, and requests to their platform.

pub mod ads;
mod automations;
pub mod calls;
pub(crate) mod channel_test;
pub mod connect;
mod contacts;
pub(crate) mod credentials;
pub mod diagnosis;
pub mod entry_points;
mod expiry;
pub mod features;
mod oauth;
pub mod refresher;
pub(crate) mod renewal;
mod set_up;

use std::sync::{Arc, Mutex};

use weir_domain::time::Timestamp;

use crate::accounts::connect::at_work::AtWork;
use crate::accounts::credentials::Credentials;
use crate::accounts::renewal::Renewer;
use crate::connectors::Connectors;
use crate::core::Core;

/// Connected accounts, and connector calls for them.
pub struct Accounts {
    core: Arc<Core>,
    connectors: Arc<Connectors>,
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) renewer: Renewer,
    /// Connect sessions in progress.
    connecting: AtWork,
    /// When channels were last checked for warnings, if known.
    last_check: Mutex<Option<Timestamp>>,
}

impl Accounts {
    pub(crate) fn new(core: Arc<Core>, connectors: Arc<Connectors>) -> Self {
        let credentials = Arc::new(Credentials::new(Arc::clone(&core)));
        Self {
            renewer: Renewer::new(Arc::clone(&core), Arc::clone(&connectors), Arc::clone(&credentials)),
            core,
            connectors,
            credentials,
            connecting: AtWork::default(),
            last_check: Mutex::default(),
        }
    }
}
