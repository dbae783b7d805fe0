//! Weir: a self-hosted host for messaging-channel connectors.
