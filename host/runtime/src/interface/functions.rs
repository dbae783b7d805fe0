//! What a connector can be asked: one entry for each function of the interface, with what goes in, what comes out, and how
//! that becomes a value of the host's.
//!
//! An ask is data. The same value that a call is made with is written into its transcript, and a replay asks it again.

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
    Channel, Contact, Content, Conversation, Failure, Header, InboundEvent as SaidEvent, Media, Referral,
};
use crate::interface::convert;
use crate::interface::exports::Exports;
use crate::interface::output::{Automation, Batch, Capability, ConversationPage, MessagePage, Profile, SetupFinding};
use crate::state::check_quota;
use crate::trace::blob;

/// One function of a connector, and what it is called with.
pub(crate) trait Ask: Clone + Into<Asked> + Send + Sync + 'static {
    /// What the connector says to it.
    type Said: Serialize + Send;
    /// What the host takes of that.
    type Taken: fmt::Debug + Send;
    /// The interface that the function belongs to.
    const INTERFACE: &'static str;

    /// Calls the function.
    fn put<T: Send + 'static>(
        &self,
        exports: &Exports,
        store: &mut Store<T>,
        instance: Instance,
    ) -> impl Future<Output = wasmtime::Result<Self::Said>> + Send;

    /// Bounds and converts what a stranger said.
    fn take(&self, said: Self::Said) -> Result<Self::Taken, CallError>;
}

macro_rules! asks {
    ($(
        $(#[$doc:meta])*
        $interface:literal $function:literal $Ask:ident { $($field:ident: $Field:ty),* } -> $Said:ty
            => $Taken:ty: |$this:pat_param, $said:ident| $take:expr;
    )*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug, Serialize, Deserialize)]
            pub(crate) struct $Ask { $(pub(crate) $field: $Field),* }

            impl Ask for $Ask {
                type Said = $Said;
                type Taken = $Taken;
                const INTERFACE: &'static str = $interface;

                async fn put<T: Send + 'static>(
                    &self,
                    exports: &Exports,
                    store: &mut Store<T>,
                    instance: Instance,
                ) -> wasmtime::Result<Self::Said> {
                    let place = exports.place($interface, $function)?;
                    let function = instance.get_typed_func::<($(&$Field,)*), ($Said,)>(&mut *store, place)?;
                    let (said,) = function.call_async(store, ($(&self.$field,)*)).await?;
                    Ok(said)
                }

                fn take(&self, $said: Self::Said) -> Result<Self::Taken, CallError> {
                    let $this = self;
                    $take
                }
            }

            impl From<$Ask> for Asked {
                fn from(ask: $Ask) -> Self {
                    Self::$Ask(ask)
                }
            }
        )*

        /// Any ask, as a transcript keeps it.
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(tag = "function", content = "with", rename_all = "snake_case")]
        pub(crate) enum Asked {
            $(
                /// An ask of this function.
                $Ask($Ask),
            )*
        }

        impl Asked {
            /// Calls the function; gives what it returned as JSON, and whether the host takes that.
            pub(crate) async fn put<T: Send + 'static>(
                &self,
                exports: &Exports,
                store: &mut Store<T>,
                instance: Instance,
            ) -> wasmtime::Result<(Option<serde_json::Value>, Result<(), CallError>)> {
                match self {
                    $(Self::$Ask(ask) => {
                        let said = ask.put(exports, store, instance).await?;
                        Ok((serde_json::to_value(&said).ok(), ask.take(said).map(drop)))
                    })*
                }
            }

            /// The interface that the function belongs to.
            pub(crate) fn interface(&self) -> &'static str {
                match self {
                    $(Self::$Ask(_) => $interface,)*
                }
            }
        }

        /// Every function, by its interface and its name.
        pub(crate) const FUNCTIONS: &[(&str, &str)] = &[$(($interface, $function)),*];

        /// Whether the functions have the shape that the interface gives them.
        ///
        /// # Errors
        /// The first interface that has not, and the engine's words.
        pub(crate) fn check_shapes<T: 'static>(
            exports: &Exports,
            store: &mut Store<T>,
            instance: &Instance,
        ) -> Result<(), (&'static str, wasmtime::Error)> {
            $(
                if let Ok(place) = exports.place($interface, $function) {
                    instance
                        .get_typed_func::<($(&$Field,)*), ($Said,)>(&mut *store, place)
                        .map_err(|error| ($interface, error))?;
                }
            )*
            Ok(())
        }
    };
}

asks! {
    /// What it is. The one call before anybody said yes to it.
    "descriptor" "describe" Describe {} -> descriptor::Manifest
        => descriptor::Manifest: |_, said| Ok(said);

    /// Translate a webhook.
    "inbound" "receive" Receive { webhook: Webhook } -> Result<Vec<SaidEvent>, String>
        => Vec<InboundEvent>: |_, said| Ok(convert::events(said.map_err(answer)?)?);

    /// Judge a draft beyond the manifest's rules.
    "outbound" "prepare" Prepare { draft: outbound::Draft } -> Vec<outbound::Finding>
        => Vec<Finding>: |_, said| Ok(convert::findings(said)?);

    /// Put one message before a person.
    "outbound" "send" SendMessage { channel: Channel, conversation: Conversation, draft: outbound::Draft }
        -> Result<outbound::Sent, Failure>
        => (String, Option<Timestamp>): |_, said| Ok(convert::sent(said?)?);

    /// Read the account's own profile.
    "identity" "who-am-i" WhoAmI { channel: Channel } -> Result<identity::Profile, Failure>
        => Profile: |_, said| Ok(convert::profile(said?)?);

    /// Set up what the account needs.
    "identity" "connected" Connected { channel: Channel } -> Result<(), Failure>
        => (): |_, said| Ok(said?);

    /// Look at the account's set-up.
    "identity" "check" Check { channel: Channel } -> Result<Vec<identity::Finding>, Failure>
        => Vec<SetupFinding>: |_, said| Ok(convert::setup_findings(said?)?);

    /// Show typing or a read mark.
    "signals" "show" Show { channel: Channel, conversation: Conversation, signal: signals::Signal } -> Result<(), Failure>
        => (): |_, said| Ok(said?);

    /// Say where an attachment's bytes are.
    "media-transfer" "locate" Locate { channel: Channel, conversation: Conversation, message_id: String, media: Media }
        -> Result<media_transfer::Location, Failure>
        => Location: |_, said| Ok(said?.into());

    /// Say what a conversation can carry.
    "probing" "probe" Probe { channel: Channel, conversation: Conversation } -> Result<Vec<probing::Capability>, Failure>
        => Vec<Capability>: |_, said| Ok(convert::capabilities(said?)?);

    /// Read one page of conversations.
    "history" "conversations" Conversations { channel: Channel, cursor: Option<String> }
        -> Result<history::ConversationPage, Failure>
        => ConversationPage: |_, said| Ok(convert::conversation_page(said?)?);

    /// Read a conversation.
    "history" "messages" Messages { channel: Channel, conversation: Conversation, since: u64 }
        -> Result<history::MessagePage, Failure>
        => MessagePage: |this, said| Ok(convert::message_page(said?, &this.channel.platform_id)?);

    /// Say who a contact is. New in 0.2.
    "contacts" "look-up" LookUp { channel: Channel, conversation: Conversation } -> Result<Option<Contact>, Failure>
        => Option<Person>: |_, said| Ok(convert::some_person(said?)?);

    /// Read automatic messages.
    "automations" "get" Automations { channel: Channel, kind: String } -> Result<Vec<automations::Automation>, Failure>
        => Vec<Automation>: |_, said| Ok(convert::automations(said?)?);

    /// Make or replace an automatic message.
    "automations" "put" PutAutomation { channel: Channel, automation: automations::Automation }
        -> Result<Option<String>, Failure>
        => Option<String>: |_, said| Ok(convert::automation_id(said?)?);

    /// Remove an automatic message.
    "automations" "remove" RemoveAutomation { channel: Channel, kind: String, id: String } -> Result<(), Failure>
        => (): |_, said| Ok(said?);

    /// Show an ad.
    "ads" "preview" AdPreview { channel: Channel, referral: Referral } -> Result<Option<String>, Failure>
        => Option<serde_json::Value>: |_, said| Ok(convert::preview(said?)?);

    /// Ask for news.
    "polling" "poll" Poll { channel: Channel, cursor: Option<String> } -> Result<polling::Batch, Failure>
        => Batch: |this, said| Ok(convert::batch(said?, &this.channel.platform_id)?);

    /// Translate a channel's state.
    "upgrade" "migrate" Migrate { from_version: String, state: Vec<upgrade::Entry> }
        -> Result<Vec<upgrade::Entry>, String>
        => State: |_, said| {
            let entries = said.map_err(answer)?.into_iter();
            check_quota(entries.map(|entry| (entry.key, entry.value)).collect()).map_err(CallError::Output)
        };
}

/// The record `webhook` of the interface `inbound`; its body is written as text where it is one.
#[derive(Clone, Debug, Serialize, Deserialize, ComponentType, Lower, Lift)]
#[component(record)]
pub(crate) struct Webhook {
    pub(crate) method: String,
    pub(crate) query: String,
    pub(crate) headers: Vec<Header>,
    #[serde(with = "blob")]
    pub(crate) body: Vec<u8>,
}

impl Asked {
    /// The stored bytes that a request body of this call may name: those of the draft.
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

/// Where an attachment's bytes are, in the connector's words: to be judged before anything is fetched.
#[derive(Debug)]
pub(crate) struct Location {
    pub(crate) url: String,
    pub(crate) headers: Vec<Header>,
}

impl From<media_transfer::Location> for Location {
    fn from(said: media_transfer::Location) -> Self {
        Self {
            url: said.url,
            headers: said.headers,
        }
    }
}

fn answer(words: String) -> CallError {
    CallError::Answer(crate::text::line(&words, weir_domain::limits::LOG_LINE_BYTES))
}
