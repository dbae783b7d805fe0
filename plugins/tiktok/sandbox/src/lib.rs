//! TikTok's Business Messaging API on loopback: virtual clock, faults, and a phone to write from.
