//! The functions of the interface: one entry for each, with its arguments, what a connector returns, and how the host
//! converts that.
//!
//! A call is data: the value that a call is made with is recorded in its transcript, and a replay makes the same call
//! from it.

use std::fmt;
use std::future::Future;

use serde::{Deserialize, Serialize};
use wasmtime::Store;
use wasmtime::component::{ComponentType, Instance, Lift, Lower};
use weir_domain::id::MediaId;
use weir_domain::inbound::{InboundEvent, Person};
use weir_domain::policy::Finding;
use weir_domain::time::Timestamp;

use crate::context::State;
use crate::error::CallError;
use crate::interface::bindings::exports::weir::connector::{
    automations, descriptor, history, identity, media_transfer, outbound, polling, probing, signals, upgrade,
};
use crate::interface::bindings::weir::connector::types::{
    Channel, Contact, Content, Conversation, Failure, Header, InboundEvent as RawEvent, Media, Referral,
};
use crate::interface::convert;
use crate::interface::exports::Exports;
use crate::interface::output::{Automation, Batch, Capability, ConversationPage, MessagePage, Profile, SetupFinding};
use crate::state::check_quota;
use crate::trace::blob;

/// One exported function, with its arguments.
pub(crate) trait ExportCall: Clone + Into<RecordedCall> + Send + Sync + 'static {
    /// What the connector returns.
    type Raw: Serialize + Send;
    /// What the host makes of it.
    type Output: fmt::Debug + Send;
    /// The interface that the function belongs to.
    const INTERFACE: &'static str;

    /// Calls the function.
    fn invoke<T: Send + 'static>(
        &self,
        exports: &Exports,
        store: &mut Store<T>,
        instance: Instance,
    ) -> impl Future<Output = wasmtime::Result<Self::Raw>> + Send;

    /// Bounds and converts what the connector returned: untrusted data.
    fn convert(&self, raw: Self::Raw) -> Result<Self::Output, CallError>;
}

macro_rules! functions {
    ($(
        $(#[$doc:meta])*
        $interface:literal $function:literal $Call:ident { $($field:ident: $Field:ty),* } -> $Raw:ty
            => $Output:ty: |$this:pat_param, $raw:ident| $convert:expr;
    )*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Serialize, Deserialize)]
            pub(crate) struct $Call { $(pub(crate) $field: $Field),* }

            impl ExportCall for $Call {
                type Raw = $Raw;
                type Output = $Output;
                const INTERFACE: &'static str = $interface;

                async fn invoke<T: Send + 'static>(
                    &self,
                    exports: &Exports,
                    store: &mut Store<T>,
                    instance: Instance,
                ) -> wasmtime::Result<Self::Raw> {
                    let index = exports.index($interface, $function)?;
                    let function = instance.get_typed_func::<($(&$Field,)*), ($Raw,)>(&mut *store, index)?;
                    let (raw,) = function.call_async(store, ($(&self.$field,)*)).await?;
                    Ok(raw)
                }

                fn convert(&self, $raw: Self::Raw) -> Result<Self::Output, CallError> {
                    let $this = self;
                    $convert
                }
            }

            impl From<$Call> for RecordedCall {
                fn from(call: $Call) -> Self {
                    Self::$Call(call)
                }
            }
        )*

        /// Any call, as a transcript stores it.
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(tag = "function", content = "with", rename_all = "snake_case")]
        pub(crate) enum RecordedCall {
            $(
                /// A call of this function.
                $Call($Call),
            )*
        }

        impl RecordedCall {
            /// Calls the function; gives what it returned as JSON, and the error if that cannot be converted.
            pub(crate) async fn invoke<T: Send + 'static>(
                &self,
                exports: &Exports,
                store: &mut Store<T>,
                instance: Instance,
            ) -> wasmtime::Result<(Option<serde_json::Value>, Result<(), CallError>)> {
                match self {
                    $(Self::$Call(call) => {
                        let raw = call.invoke(exports, store, instance).await?;
                        Ok((serde_json::to_value(&raw).ok(), call.convert(raw).map(drop)))
                    })*
                }
            }

            /// The interface that the function belongs to.
            pub(crate) fn interface(&self) -> &'static str {
                match self {
                    $(Self::$Call(_) => $interface,)*
                }
            }
        }

        /// Every function, by its interface and its name.
        pub(crate) const FUNCTIONS: &[(&str, &str)] = &[$(($interface, $function)),*];

        /// Checks the types of all exported functions.
        ///
        /// # Errors
        /// The first interface with a function of another type, and the engine's error.
        pub(crate) fn check_types<T: 'static>(
            exports: &Exports,
            store: &mut Store<T>,
            instance: &Instance,
        ) -> Result<(), (&'static str, wasmtime::Error)> {
            $(
                if let Ok(index) = exports.index($interface, $function) {
                    instance
                        .get_typed_func::<($(&$Field,)*), ($Raw,)>(&mut *store, index)
                        .map_err(|error| ($interface, error))?;
                }
            )*
            Ok(())
        }
    };
}

functions! {
    /// The manifest. The only call before an operator approves the component.
    "descriptor" "describe" Describe {} -> descriptor::Manifest
        => descriptor::Manifest: |_, raw| Ok(raw);

    /// Events of a webhook.
    "inbound" "receive" Receive { webhook: Webhook } -> Result<Vec<RawEvent>, String>
        => Vec<InboundEvent>: |_, raw| Ok(convert::events(raw.map_err(answer)?)?);

    /// Findings about a draft that the manifest's rules cannot express.
    "outbound" "prepare" Prepare { draft: outbound::Draft } -> Vec<outbound::Finding>
        => Vec<Finding>: |_, raw| Ok(convert::findings(raw)?);

    /// Sends one message.
    "outbound" "send" SendMessage { channel: Channel, conversation: Conversation, draft: outbound::Draft }
        -> Result<outbound::Sent, Failure>
        => (String, Option<Timestamp>): |_, raw| Ok(convert::sent(raw?)?);

    /// The account's own profile.
    "identity" "who-am-i" WhoAmI { channel: Channel } -> Result<identity::Profile, Failure>
        => Profile: |_, raw| Ok(convert::profile(raw?)?);

    /// Sets up what the account needs, such as the webhook subscription.
    "identity" "connected" Connected { channel: Channel } -> Result<(), Failure>
        => (): |_, raw| Ok(raw?);

    /// Checks the account's setup.
    "identity" "check" Check { channel: Channel } -> Result<Vec<identity::Finding>, Failure>
        => Vec<SetupFinding>: |_, raw| Ok(convert::setup_findings(raw?)?);

    /// Shows a typing indicator or a read receipt.
    "signals" "show" Show { channel: Channel, conversation: Conversation, signal: signals::Signal } -> Result<(), Failure>
        => (): |_, raw| Ok(raw?);

    /// The location of an attachment's bytes.
    "media-transfer" "locate" Locate { channel: Channel, conversation: Conversation, message_id: String, media: Media }
        -> Result<media_transfer::Location, Failure>
        => Location: |_, raw| Ok(raw?.into());

    /// The content kinds that a conversation supports now.
    "probing" "probe" Probe { channel: Channel, conversation: Conversation } -> Result<Vec<probing::Capability>, Failure>
        => Vec<Capability>: |_, raw| Ok(convert::capabilities(raw?)?);

    /// One page of conversations.
    "history" "conversations" Conversations { channel: Channel, cursor: Option<String> }
        -> Result<history::ConversationPage, Failure>
        => ConversationPage: |_, raw| Ok(convert::conversation_page(raw?)?);

    /// Messages of a conversation.
    "history" "messages" Messages { channel: Channel, conversation: Conversation, since: u64 }
        -> Result<history::MessagePage, Failure>
        => MessagePage: |this, raw| Ok(convert::message_page(raw?, &this.channel.platform_id)?);

    /// A contact's profile. New in 0.2.
    "contacts" "look-up" LookUp { channel: Channel, conversation: Conversation } -> Result<Option<Contact>, Failure>
        => Option<Person>: |_, raw| Ok(convert::some_person(raw?)?);

    /// Automatic messages.
    "automations" "get" Automations { channel: Channel, kind: String } -> Result<Vec<automations::Automation>, Failure>
        => Vec<Automation>: |_, raw| Ok(convert::automations(raw?)?);

    /// Creates or replaces an automatic message.
    "automations" "put" PutAutomation { channel: Channel, automation: automations::Automation }
        -> Result<Option<String>, Failure>
        => Option<String>: |_, raw| Ok(convert::automation_id(raw?)?);

    /// Removes an automatic message.
    "automations" "remove" RemoveAutomation { channel: Channel, kind: String, id: String } -> Result<(), Failure>
        => (): |_, raw| Ok(raw?);

    /// Preview of an ad.
    "ads" "preview" AdPreview { channel: Channel, referral: Referral } -> Result<Option<String>, Failure>
        => Option<serde_json::Value>: |_, raw| Ok(convert::preview(raw?)?);

    /// New events, on platforms without webhooks.
    "polling" "poll" Poll { channel: Channel, cursor: Option<String> } -> Result<polling::Batch, Failure>
        => Batch: |this, raw| Ok(convert::batch(raw?, &this.channel.platform_id)?);

    /// Migrates a channel's state.
    "upgrade" "migrate" Migrate { from_version: String, state: Vec<upgrade::Entry> }
        -> Result<Vec<upgrade::Entry>, String>
        => State: |_, raw| {
            let entries = raw.map_err(answer)?.into_iter();
            check_quota(entries.map(|entry| (entry.key, entry.value)).collect()).map_err(CallError::Output)
        };
}

/// The record `webhook` of the interface `inbound`; its body is stored as text if it is UTF-8.
#[derive(Clone, Debug, Serialize, Deserialize, ComponentType, Lower, Lift)]
#[component(record)]
pub(crate) struct Webhook {
    pub(crate) method: String,
    pub(crate) query: String,
    pub(crate) headers: Vec<Header>,
    #[serde(with = "blob")]
    pub(crate) body: Vec<u8>,
}

impl RecordedCall {
    /// The stored media that a request body of this call may reference: that of the draft.
    pub(crate) fn attachments(&self) -> Vec<MediaId> {
        match self {
            Self::SendMessage(SendMessage {
                draft:
                    outbound::Draft {
                        content: Content::Media(media),
                        ..
                    },
                ..
            }) => media.reference.parse().into_iter().collect(),
            _ => Vec::new(),
        }
    }
}

/// Where an attachment's bytes are, as the connector returned it: checked by policy before anything is fetched.
#[derive(Debug)]
pub(crate) struct Location {
    pub(crate) url: String,
    pub(crate) headers: Vec<Header>,
}

impl From<media_transfer::Location> for Location {
    fn from(raw: media_transfer::Location) -> Self {
        Self {
            url: raw.url,
            headers: raw.headers,
        }
    }
}

fn answer(message: String) -> CallError {
    CallError::Answer(crate::text::line(&message, weir_domain::limits::LOG_LINE_BYTES))
}
