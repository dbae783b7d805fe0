//! Every bound of the host, with its reason. Nothing is unbounded by omission.

use std::time::Duration;

// ---- what comes in -------------------------------------------------------------------------------------------------

/// Largest body of a webhook. Platforms send a few kilobytes; a mebibyte leaves room for batches.
pub const WEBHOOK_BODY_BYTES: usize = 1 << 20;
/// Bytes of webhooks that are being read or recorded, over all connections: many times what a busy app has in hand, and far
/// from what a machine has.
pub const WEBHOOK_BYTES_IN_HAND: usize = 64 << 20;
/// The share of one app in those, so that a flood for one leaves the others half.
pub const WEBHOOK_BYTES_PER_APP: usize = 32 << 20;
/// The share of one address, or of one IPv6 network of 64 bits.
pub const WEBHOOK_BYTES_PER_ADDRESS: usize = 16 << 20;
/// How long the body of a webhook may take: platforms send theirs in one piece, and who sends slowly holds the room of others.
pub const WEBHOOK_READ: Duration = Duration::from_secs(5);
/// Largest JSON body of the API: the longest text of any platform, escaped, with room to spare.
pub const API_BODY_BYTES: usize = 256 << 10;
/// Largest upload of the API: above the largest image that a platform takes.
pub const UPLOAD_BYTES: usize = 20 << 20;
/// Largest component: a Rust connector is 100–300 kB, a Python one about 15 MiB.
pub const COMPONENT_BYTES: usize = 16 << 20;
/// Time to fetch a component from where it is published: the largest at 30 kB a second.
pub const COMPONENT_FETCH: Duration = Duration::from_secs(600);
/// Steps from an address to the bytes behind it; release pages and registries take one or two.
pub const REDIRECTS: usize = 5;
/// Largest manifest, list or token that a registry is asked for: a connector's manifest has about a kilobyte.
pub const REGISTRY_ANSWER_BYTES: u64 = 1 << 20;
/// Tags of a repository that are read.
pub const TAGS: usize = 1_000;
/// Tags of a repository whose manifests are read: the newest, at one request each.
pub const TAGS_SHOWN: usize = 20;
/// How long a client may take to send its request head; hyper's own default needs a timer that axum does not set.
pub const REQUEST_HEAD: Duration = Duration::from_secs(5);
/// How long a client may take over the whole request body.
pub const REQUEST_BODY: Duration = Duration::from_secs(30);
/// How long a client may take nothing of its answer: longer than a phone needs to change its network.
pub const ANSWER_STALL: Duration = Duration::from_secs(15);
/// Bytes of an answer that the kernel holds for one connection. It says that a client takes some when a third of them is free, so
/// with [`ANSWER_STALL`] the slowest client takes some kilobytes a second; its own default grows to megabytes for each.
pub const SEND_BUFFER_BYTES: usize = 128 << 10;
/// Largest request head.
pub const REQUEST_HEAD_BYTES: usize = 16 << 10;
/// Connections served at once; one more waits in the kernel's queue.
pub const CONNECTIONS: usize = 4_096;
/// Connections of one address, or of one IPv6 network of 64 bits: a quarter of all, so that one flood leaves room for others, and
/// a reverse proxy, through which everybody comes, has more than it opens.
pub const CONNECTIONS_PER_ADDRESS: usize = 1_024;
/// Answers of a list call at most, and by default.
pub const PAGE: u32 = 200;
/// Answers of a list call that names no limit.
pub const PAGE_DEFAULT: u32 = 50;
/// How long an answer is kept under its `Idempotency-Key`.
pub const IDEMPOTENCY: Duration = Duration::from_secs(24 * 3600);
/// Largest answer kept under an `Idempotency-Key`: several times what any answer that says what was changed has.
pub const KEPT_ANSWER_BYTES: usize = 256 << 10;
/// Longest `Idempotency-Key`: a UUID with room for a prefix.
pub const IDEMPOTENCY_KEY_CHARS: usize = 255;
/// Requests that change something at work at once, whether or not their callers still wait: a quarter of all connections, each
/// with a body of [`API_BODY_BYTES`] at most. One more is asked to come back.
pub const ACTS: usize = 1_024;
/// Browsers that come back from a platform's consent page at once: people, one by one, each with a few requests to the platform.
pub const CALLBACKS: usize = 64;
/// Event streams open at once: each holds a connection and a reader.
pub const STREAMS: usize = 256;
/// Event streams of one key: a quarter, so that one program that never closes its own leaves room for others.
pub const STREAMS_PER_KEY: usize = 64;
/// How often a request that lasts looks whether its key still stands, beside being told: a key may end in another process.
pub const KEY_LOOK: Duration = Duration::from_secs(60);

// ---- the record ----------------------------------------------------------------------------------------------------

/// Writes that share one commit; past this the wait for the others costs more than the fsync saved.
pub const GROUP_COMMIT: usize = 256;
/// Writes that wait for the writer; one more is told to come back (503), before memory grows.
pub const WRITE_QUEUE: usize = 4_096;
/// How long one who alone knows what an outside step came to asks a record that is locked or full to take it, before it goes on
/// to its next means: more than a person's tool holds a lock, and less than a lease holds.
pub const PERSIST: Duration = Duration::from_secs(8);
/// Readers of the store. SQLite's readers do not wait for the writer; two cores need no more.
pub const READERS: usize = 4;
/// Bytes of the record's log that stay when it begins anew: some seconds of writing, so that its file seldom grows.
pub const LOG_KEPT: i64 = 16 << 20;
/// From so many bytes on the record's log is emptied as soon as nobody reads: a reader kept it from beginning anew.
pub const LOG_BYTES: u64 = 64 << 20;
/// Verified webhooks that wait for a mended connector, for each app. At the bound the platform keeps what comes next.
pub const DEAD_LETTERS: u32 = 10_000;
/// From so many on the operator is warned, while there is still room: 80 % of [`DEAD_LETTERS`].
pub const DEAD_LETTERS_WARNED: u32 = DEAD_LETTERS / 5 * 4;
/// How long a fact is known by its key, at least; twice that at most. TikTok repeats a webhook for 72 hours (TikTok API reference,
/// Webhooks), other platforms for up to seven days.
pub const SEEN: Duration = Duration::from_secs(7 * 24 * 3600);
/// Refusals that can explain themselves, at about half a kilobyte each; older ones give way, and stay counted.
pub const REFUSALS: u32 = 100_000;
/// Changes in the audit log; a busy operator makes some hundred a day.
pub const AUDIT_ENTRIES: u32 = 1_000_000;
/// Rows forgotten in one write, so that others wait for some milliseconds at most.
pub const FORGET_AT_ONCE: u32 = 1_000;
/// Messages that one search looks through, the newest first: some tens of milliseconds of one reader.
pub const MESSAGES_SEARCHED: u32 = 10_000;
/// Rows of a list that one page with a filter looks at, so that a filter which nothing fits keeps a reader from others for some
/// tens of milliseconds; the page then says where to go on.
pub const ROWS_SCANNED: usize = 10_000;
/// Longest text that messages are searched for.
pub const SEARCH_CHARS: usize = 200;
/// Answers of a table of counts: its head, which is what is looked for.
pub const COUNTS: u32 = 1_000;

// ---- nodes ---------------------------------------------------------------------------------------------------------

/// How often a node says that it is alive: one small write, and a node that died is noticed within a few of them.
pub const NODE_BEAT: Duration = Duration::from_secs(2);
/// A node that was silent for so long is dead to the others, which go on with its work: five heartbeats, so that a slow commit or
/// a pause of the machine is not taken for a death.
pub const NODE_DEAD: Duration = Duration::from_secs(10);
/// From so long after its last heartbeat on, a node lets nothing leave: the 4 seconds to [`NODE_DEAD`] are for clocks that run
/// differently, and for bytes that are being written.
pub const NODE_FENCED: Duration = Duration::from_secs(6);
/// How long an ended node is listed.
pub const NODE_LISTED: Duration = Duration::from_secs(24 * 3600);
/// How long a duty stays with its node without being renewed: three times [`DUTY_RENEWED`].
pub const DUTY: Duration = Duration::from_secs(15);
/// How often a duty is renewed.
pub const DUTY_RENEWED: Duration = Duration::from_secs(5);

// ---- one call of a connector ----------------------------------------------------------------------------------------

/// How often the epoch rises: the grain of every time budget below, and how long a guest keeps a worker from others at a time.
pub const EPOCH_TICK: Duration = Duration::from_millis(2);
/// Processor time of a pure call: translating a webhook takes well under a millisecond. What other programs do on the machine
/// takes nothing of it.
pub const PURE_CPU: Duration = Duration::from_millis(200);
/// Processor time of a call with network; waiting for the network costs none.
pub const CALL_CPU: Duration = Duration::from_secs(1);
/// Wall clock of a pure call, which waits for nothing: a hundred times its processor time, so that only a host which stands still
/// meets it.
pub const PURE_WALL: Duration = Duration::from_secs(20);
/// Wall clock of a call with network: three slow requests.
pub const CALL_WALL: Duration = Duration::from_secs(60);
/// Memory of one instance, summed over its memories.
pub const GUEST_MEMORY_BYTES: usize = 64 << 20;
/// Table elements of one instance, summed over its tables.
pub const GUEST_TABLE_ELEMENTS: usize = 20_000;
/// Stack of the guest.
pub const GUEST_STACK_BYTES: usize = 512 << 10;
/// Stack of a call: the difference is what host functions may use.
pub const CALL_STACK_BYTES: usize = 2 << 20;
/// Unmapped bytes around each memory, so that most accesses need no check of their own.
pub const GUEST_GUARD_BYTES: u64 = 2 << 20;
/// Tables of one instance: toolchains make one or two for each core module.
pub const GUEST_TABLES: u32 = 8;
/// Core instances within one component: a Rust connector has four.
pub const CORE_INSTANCES: u32 = 32;
/// Resource handles alive in one instance; the interface has no resources, so this only stops a flood.
pub const GUEST_HANDLES: usize = 1_000;
/// Slots of the pool kept warm after use, which makes the next call cheaper.
pub const WARM_SLOTS: u32 = 32;
/// Memory of a warm slot that is cleared by writing instead of by unmapping: what an ordinary call touches.
pub const WARM_MEMORY_BYTES: usize = 1 << 20;
/// The upper end of a call's stack, cleared by writing instead of by unmapping: an ordinary call goes no deeper, and unmapping
/// makes each processor that runs the program forget its addresses.
pub const WARM_STACK_BYTES: usize = 64 << 10;
/// Table bytes of a warm slot that are cleared by writing.
pub const WARM_TABLE_BYTES: usize = 64 << 10;
/// Functions of a component; a Rust connector has about a thousand.
pub const COMPONENT_FUNCTIONS: usize = 50_000;
/// Largest body of one function. Compiling takes more than linear time in it: 400 KiB took seconds, 1.6 MiB most of a minute.
pub const FUNCTION_BYTES: usize = 512 << 10;
/// Processor time of one compilation, in a process of its own: TikTok's connector takes two seconds, Python's runtime twenty.
pub const COMPILE_CPU: Duration = Duration::from_secs(60);
/// Wall clock of one compilation: its processor time on a machine that is busy with other things.
pub const COMPILE_WALL: Duration = Duration::from_secs(120);
/// Memory of one compilation: three times what a function of the largest size was seen to take.
pub const COMPILE_MEMORY_BYTES: u64 = 2 << 30;
/// Largest compiled form read from the cache: machine code is a few times as large as the component.
pub const COMPILED_BYTES: u64 = 256 << 20;
/// Longest wait for a slot to run in; past it the call is told to come back.
pub const CALL_QUEUE: Duration = Duration::from_secs(10);
/// Bytes copied between guest and host for one crossing; wasmtime's own default is 128 MiB.
pub const HOSTCALL_FUEL: usize = 4 << 20;
/// Instances alive at once: what the pool has slots for.
pub const INSTANCES: u32 = 256;
/// Calls with network of one connector at once, so that one cannot take every slot.
pub const CALLS_PER_CONNECTOR: usize = 64;
/// Pure calls of one connector at once, which have slots of their own: a platform that is slow to answer holds no webhook up. They
/// wait for nothing, so more would only share the processors.
pub const PURE_PER_CONNECTOR: usize = 32;
/// Calls with network of all connectors at once; the rest of [`INSTANCES`] is for pure calls.
pub const CALLS: u32 = 192;
/// How often a version may crash within [`BREAK_SPAN`] until it is quarantined: once or twice is one bad message, and a
/// version that cannot run any more shows it within seconds.
pub const BREAKS: usize = 5;
/// The span in which breaks are counted together.
pub const BREAK_SPAN: Duration = Duration::from_secs(60);
/// How long a change of versions waits for the calls of a channel to end before it takes the channel's state over; its next calls
/// wait as long. A send and this wait fit into [`LEASE`].
pub const STATE_TURN: Duration = Duration::from_secs(20);
/// Channels whose states a change of versions moves at once: enough for one commit of the record to take several.
pub const STATE_MOVES: usize = 8;
/// Events of one webhook.
pub const EVENTS_PER_WEBHOOK: usize = 1_000;
/// Longest text that a connector may hand over, in bytes: ten times the longest of any platform.
pub const TEXT_BYTES: usize = 64 << 10;
/// Longest platform document kept with a message.
pub const PLATFORM_DATA_BYTES: usize = 64 << 10;
/// How far ahead of ours a platform's clock may be where its webhooks carry no time of their own; as in most signatures.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(300);
/// The first wait before a conversation's history is asked for again after the platform refused it, and the longest.
pub const HISTORY_WAIT: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(6 * 3600));
/// How often it is asked for by the host itself: some two days. Whoever asks for the channel's history asks for it again.
pub const HISTORY_ATTEMPTS: u32 = 16;
/// Refusals in a row after which a channel's other conversations are left for later: the platform is not well.
pub const HISTORY_REFUSALS: u32 = 5;
/// Conversations that are asked for again in one round.
pub const HISTORY_GAPS: u32 = 20;
/// Longest id that a platform gave.
pub const PLATFORM_ID_BYTES: usize = 512;
/// Longest name or other short text that a connector may hand over: names of people, files and ads.
pub const NAME_BYTES: usize = 1 << 10;
/// Longest word of an open list: `rate_limited`.
pub const TOKEN_BYTES: usize = 64;
/// Things to tap on one card.
pub const CARD_BUTTONS: usize = 64;
/// Entries of a list that a connector answers with, other than events: findings, capabilities, automations.
pub const ANSWER_ENTRIES: usize = 256;
/// Log lines of one call, and the length of one; what is over is counted.
pub const LOG_LINES: u32 = 100;
/// Bytes of one log line.
pub const LOG_LINE_BYTES: usize = 2 << 10;
/// Looks at the clock that a transcript keeps of one call; an honest call looks a few times.
pub const CLOCK_READINGS: usize = 1_000;
/// Steps of a count of latencies, each twice the one before it, from 2 µs: the last holds all of a minute and more.
pub const LATENCY_STEPS: usize = 27;
/// Transcripts kept for each connector, unless the operator says otherwise: a few hundred kilobytes of what people wrote.
pub const TRANSCRIPTS: u32 = 1_000;
/// Transcripts kept in a second, of all connectors; a replay wants many kinds of calls and not every one.
pub const TRANSCRIPTS_PER_SECOND: u32 = 10;
/// Bytes of a transcript that is kept. A call with several large answers is not.
pub const TRANSCRIPT_BYTES: usize = 512 << 10;
/// Transcripts on their way into the record; what finds no room is dropped and counted.
pub const TRANSCRIPTS_WAITING: usize = 64;
/// Calls that one request may ask to be replayed: some seconds of work.
pub const REPLAY_CALLS: u32 = 1_000;
/// Differences that are told of one replayed call, and kinds of them in one report: past this a version is simply another.
pub const DIFFERENCES: usize = 100;
/// Bytes of a value that is shown as a difference; what is longer is cut.
pub const DIFFERENCE_BYTES: usize = 512;
/// Requests that one call may make.
pub const REQUESTS_PER_CALL: u32 = 8;
/// Keys of a channel's state.
pub const STATE_KEYS: usize = 64;
/// Bytes of one value of state.
pub const STATE_VALUE_BYTES: usize = 64 << 10;
/// Bytes of one key of state.
pub const STATE_KEY_BYTES: usize = 256;
/// Bytes of a channel's state, keys and values.
pub const STATE_BYTES: usize = 1 << 20;
/// Routes of a manifest; TikTok has about twenty.
pub const ROUTES: usize = 128;

// ---- what leaves ------------------------------------------------------------------------------------------------------

/// Longest URL that leaves.
pub const URL_BYTES: usize = 4 << 10;
/// Headers of a request that leaves, and of an answer that is passed on.
pub const HEADERS: usize = 64;
/// Bytes of one header.
pub const HEADER_BYTES: usize = 8 << 10;
/// Largest body that a connector may send from its own memory.
pub const REQUEST_BODY_BYTES: usize = 1 << 20;
/// Parts of a multipart body; an upload has a file and a handful of fields.
pub const PARTS: usize = 16;
/// Largest answer passed on to a connector, counted after decompression.
pub const ANSWER_BYTES: usize = 1 << 20;
/// Largest attachment fetched into the media store.
pub const MEDIA_BYTES: u64 = 20 << 20;
/// Time to connect.
pub const CONNECT: Duration = Duration::from_secs(5);
/// Time between two reads of an answer.
pub const READ: Duration = Duration::from_secs(10);
/// Time of one request from resolving to the last byte.
pub const REQUEST: Duration = Duration::from_secs(30);
/// Time for an operator's endpoint to answer (Standard Webhooks advises 15–30 s).
pub const ENDPOINT: Duration = Duration::from_secs(20);
/// What is kept of an endpoint's answer, for the attempt log.
pub const ENDPOINT_ANSWER_BYTES: usize = 2 << 10;
/// Time to hand a batch of spans to a collector, and the last ones at the end of the process.
pub const TRACE_EXPORT: Duration = Duration::from_secs(5);
/// How far ahead of their turns at the platform an app's messages are made ready. More than a worker's shortest sleep, so that
/// no turn goes by unused; and little, so that an app whose rate is used up holds few of [`SENDS_IN_FLIGHT`], and a channel
/// that has something to send comes to its turn soon.
pub const RATE_AHEAD: Duration = Duration::from_millis(500);
/// Longest wait for the platform's rate inside a call; past it the call gives way to others and is tried later.
pub const RATE_WAIT: Duration = Duration::from_secs(20);
/// Longest pause that a platform or its connector may ask for: quotas of a day begin anew after it at the latest.
pub const PLATFORM_PAUSE: Duration = Duration::from_secs(24 * 3600);

// ---- delivery ---------------------------------------------------------------------------------------------------------

/// Sends in flight at once, over all channels.
pub const SENDS_IN_FLIGHT: usize = 64;
/// How long a worker's claim holds: longer than a call may take.
pub const LEASE: Duration = Duration::from_secs(90);
/// Tries of one message.
pub const SEND_ATTEMPTS: u32 = 12;
/// First wait between two tries of a message, and the longest.
pub const SEND_RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// How long a message waits whose account no version serves, though its app's other accounts are served, before somebody looks
/// again: each look is two transactions, for every conversation that waits.
pub const UNSERVED_WAIT: Duration = Duration::from_secs(10);
/// How long a conversation waits for an uncertain message before it goes on.
pub const UNCERTAIN_WAIT: Duration = Duration::from_secs(150);
/// Events handed over at once, over all endpoints.
pub const DELIVERIES_IN_FLIGHT: usize = 64;
/// Events handed over at once to one endpoint, so that one which is slow holds an eighth of the above and no more.
pub const DELIVERIES_PER_ENDPOINT: u32 = 8;
/// Events handed over to one endpoint in a second, at most: what an operator may ask for.
pub const DELIVERIES_PER_SECOND: u32 = 1_000;
/// Events of the log that one step of a recovery looks at: some milliseconds of the record's writer, which has others to serve.
pub const EVENTS_RECOVERED: u32 = 500;
/// A recovery whose last step is older than this has lost its caller, and goes on by itself: a step takes milliseconds.
pub const RECOVERY_STEP: Duration = Duration::from_secs(10);
/// How long nothing went through to an endpoint until that is told: a program that is started anew is back by then.
pub const ENDPOINT_FAILING: Duration = Duration::from_secs(60);
/// Longest wait that an endpoint's `Retry-After` is heeded for: the longest wait of the schedule itself.
pub const ENDPOINT_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Attachments fetched at once.
pub const FETCHES_IN_FLIGHT: usize = 4;
/// How long the reading of one channel's history may take before another node begins it too: 500 conversations within the
/// platform's rate.
pub const HISTORY_LEASE: Duration = Duration::from_secs(3600);
/// An echo may still be on its way for so long after a send that nothing was heard of.
pub const UNCERTAIN_GRACE: Duration = Duration::from_secs(120);
/// The first and the longest wait between two questions about one uncertain message: each is a request of the platform's rate, which
/// sends need too, and what the history did not show within the hour is most often left to a person.
pub const UNCERTAIN_ASKED: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(3600));
/// The longest that anything of a channel waits to be done again. What is due later was written before the clock was set back.
pub const WORK_WAIT: Duration = Duration::from_secs(600);
/// Channels asked for news at once, of platforms that send no webhooks.
pub const POLLS_IN_FLIGHT: usize = 16;
/// How long a channel waits between two askings, at least and at most: a second is no wait for who writes, and after some minutes
/// nobody expects an answer any more. The longest is also the last wait after failures.
pub const POLL_WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// Tries to fetch one attachment.
pub const FETCH_ATTEMPTS: u32 = 6;
/// How long before its end a window is told of as closing: half a working day, so that whoever hears of it can still answer, and
/// a window of 48 hours that opened in the morning is told of in the morning.
pub const WINDOW_CLOSING: Duration = Duration::from_secs(4 * 3600);
/// Conversations that time has news for, looked at in one write: some milliseconds of the record's writer.
pub const CONVERSATIONS_SWEPT: u32 = 256;
/// How long a conversation with news waits for a connector that does not serve, whose rules nobody knows.
pub const NEWS_WAIT: Duration = Duration::from_secs(60);
/// How long a connect session may take; TikTok's code lives as long (TikTok API reference, OAuth, Lifetimes).
pub const CONNECT_SESSION: Duration = Duration::from_secs(600);
/// How long whoever comes back from a platform's consent page is kept waiting for how it ended: past it a page says that it is not
/// known yet, and the work goes on.
pub const CONNECT_WAIT: Duration = Duration::from_secs(20);
/// How long a channel that was just connected has for its first set-up, a call with network and its wait for the rate, until it
/// is taken as cut off.
pub const SET_UP: Duration = Duration::from_secs(180);
/// First wait until a failed set-up of a channel is tried again, and the longest: some causes are gone in a minute, some need a
/// person.
pub const SET_UP_RETRY: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3_600));
/// A credential is renewed when less than this is left of its life, or this much has passed.
pub const REFRESH_AHEAD: Duration = Duration::from_secs(6 * 3600);
/// How long a browser stays signed in: a working week and its ends, after which the key is shown again.
pub const SESSION: Duration = Duration::from_secs(7 * 24 * 3600);
/// Browsers signed in with one key at once; one more signs the oldest out.
pub const SESSIONS_PER_KEY: u32 = 64;
/// Workspaces of a host: they are listed whole, and who has more has another host.
pub const WORKSPACES: usize = 1_000;
/// Channels that one key may be bound to: each is looked into for a page of a list, and who has more has a workspace.
pub const CHANNELS_PER_KEY: usize = 100;
/// How long a signed media link works.
pub const MEDIA_LINK: Duration = Duration::from_secs(24 * 3600);
/// How long a loop that only leases work may be silent before the host counts as not ready: four of its longest sleeps.
pub const LOOP_SILENCE: Duration = Duration::from_secs(120);
/// Longest round of a loop that asks platforms: some tens of calls, each at its own deadline.
pub const ROUND: Duration = Duration::from_secs(900);
/// How long the host waits at its end for work in hand.
pub const SHUTDOWN: Duration = Duration::from_secs(30);
