//! TikTok Business Messaging for Weir.
