// Every type of event, with the tone in which it is shown.

/** @import { EventType } from "./types" */

/** @type {Record<EventType, "" | "accent" | "warn" | "bad">} */
export const TONES = {
  "message.received": "accent",
  "message.echoed": "",
  "message.queued": "",
  "message.sent": "",
  "message.delivered": "",
  "message.read": "",
  "message.failed": "bad",
  "message.uncertain": "warn",
  "message.cancelled": "",
  "reaction.added": "accent",
  "reaction.removed": "",
  "contact.created": "",
  "contact.updated": "",
  "contact.erased": "",
  "conversation.opened": "accent",
  "conversation.closed": "warn",
  "window.opened": "accent",
  "window.closing": "warn",
  "window.closed": "warn",
  "referral.received": "accent",
  "media.stored": "",
  "media.failed": "bad",
  "channel.connected": "accent",
  "channel.updated": "",
  "channel.paused": "warn",
  "channel.degraded": "warn",
  "channel.reauthorization_required": "bad",
  "channel.recovered": "accent",
  "channel.deleted": "",
  "channel.inbound_withheld": "bad",
  "connector.staged": "",
  "connector.canary": "",
  "connector.promoted": "",
  "connector.rolled_back": "bad",
  "connector.quarantined": "bad",
  "endpoint.failing": "bad",
  "endpoint.disabled": "bad",
  "endpoint.recovered": "accent",
};

/** What a type is about: the part before the dot. @param {string} type */
export const groupOf = (type) => type.split(".")[0];

/** The types by what they are about. */
export const GROUPS = Map.groupBy(/** @type {EventType[]} */ (Object.keys(TONES)), groupOf);
