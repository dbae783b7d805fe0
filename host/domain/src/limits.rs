//! Every bound of the host, with its reason. Nothing is unbounded by omission.

use std::time::Duration;

// ---- inbound -------------------------------------------------------------------------------------------------------

/// Largest body of a webhook. Platforms send a few kilobytes; a mebibyte leaves room for batches.
pub const WEBHOOK_BODY_BYTES: usize = 1 << 20;
/// Bytes of webhooks that are being read or stored, over all connections: many times what a busy app needs, and far
/// below a machine's memory.
pub const WEBHOOK_BYTES_IN_FLIGHT: usize = 64 << 20;
/// The share of one app, so that a flood for one leaves the others half.
pub const WEBHOOK_BYTES_PER_APP: usize = 32 << 20;
/// The share of one address, or of one IPv6 network of 64 bits.
pub const WEBHOOK_BYTES_PER_ADDRESS: usize = 16 << 20;
/// How long the body of a webhook may take: platforms send theirs at once, and a slow sender occupies capacity.
pub const WEBHOOK_READ: Duration = Duration::from_secs(5);
/// Largest JSON body of the API: the longest text of any platform, escaped, with room to spare.
pub const API_BODY_BYTES: usize = 256 << 10;
/// Largest upload of the API: above the largest image that a platform accepts.
pub const UPLOAD_BYTES: usize = 20 << 20;
/// Largest component: a Rust connector is 100–300 kB, a Python one about 15 MiB.
pub const COMPONENT_BYTES: usize = 16 << 20;
/// Time to fetch a component from where it is published: the largest at 30 kB a second.
pub const COMPONENT_FETCH: Duration = Duration::from_secs(600);
/// Redirects from an address to its content; release pages and registries use one or two.
pub const REDIRECTS: usize = 5;
/// Largest manifest, list or token that a registry may return: a connector's manifest has about a kilobyte.
pub const REGISTRY_ANSWER_BYTES: u64 = 1 << 20;
/// Tags of a repository that are read.
pub const TAGS: usize = 1_000;
/// Tags of a repository whose manifests are read: the newest, at one request each.
pub const TAGS_SHOWN: usize = 20;
/// How long a client may take to send its request head; hyper's own default needs a timer that axum does not set.
pub const REQUEST_HEAD: Duration = Duration::from_secs(5);
/// How long a client may take over the whole request body.
pub const REQUEST_BODY: Duration = Duration::from_secs(30);
/// How long a client may read nothing of its response: longer than a phone needs to change networks.
pub const ANSWER_STALL: Duration = Duration::from_secs(15);
/// Bytes of a response that the kernel buffers for one connection. The socket becomes writable when a third of them is
/// free, so with [`ANSWER_STALL`] the slowest client reads some kilobytes a second; the kernel's own default grows to
/// megabytes for each.
pub const SEND_BUFFER_BYTES: usize = 128 << 10;
/// Largest request head.
pub const REQUEST_HEAD_BYTES: usize = 16 << 10;
/// Connections served at once; further ones wait in the kernel's queue.
pub const CONNECTIONS: usize = 4_096;
/// Connections of one address, or of one IPv6 network of 64 bits: a quarter of all, so that a flood leaves capacity for
/// others, and a reverse proxy, whose address all its clients share, has more than it opens.
pub const CONNECTIONS_PER_ADDRESS: usize = 1_024;
/// The most entries of a list response.
pub const PAGE: u32 = 200;
/// Entries of a list response without a given limit.
pub const PAGE_DEFAULT: u32 = 50;
/// How long a response is stored under its `Idempotency-Key`.
pub const IDEMPOTENCY: Duration = Duration::from_secs(24 * 3600);
/// Largest response stored under an `Idempotency-Key`: several times the size of any response to a change.
pub const KEPT_ANSWER_BYTES: usize = 256 << 10;
/// Longest `Idempotency-Key`: a UUID with room for a prefix.
pub const IDEMPOTENCY_KEY_CHARS: usize = 255;
/// Requests in progress that change something, whether or not their callers still wait: a quarter of all connections,
/// each with a body of at most [`API_BODY_BYTES`]. Further ones get 503.
pub const ACTS: usize = 1_024;
/// Concurrent OAuth callbacks: from people, one by one, each with a few requests to the platform.
pub const CALLBACKS: usize = 64;
/// Event streams open at once: each occupies a connection and a reader.
pub const STREAMS: usize = 256;
/// Event streams of one key: a quarter, so that one program that never closes its own leaves room for others.
pub const STREAMS_PER_KEY: usize = 64;
/// How often a long request checks that its key is still valid, in addition to notifications: a key may be revoked in
/// another process.
pub const KEY_CHECK: Duration = Duration::from_secs(60);

// ---- database ------------------------------------------------------------------------------------------------------

/// Writes that share one commit; past this the wait for the others costs more than the fsync saved.
pub const GROUP_COMMIT: usize = 256;
/// Writes that wait for the writer; further ones get 503 before memory grows.
pub const WRITE_QUEUE: usize = 4_096;
/// How long a write of an external step's only result is retried while the database is locked or full, before the
/// fallback is used: longer than a person's tool holds a lock, and shorter than a lease.
pub const PERSIST: Duration = Duration::from_secs(8);
/// Readers of the store. SQLite's readers do not wait for the writer; two cores need no more.
pub const READERS: usize = 4;
/// Bytes of the write-ahead log that stay when it restarts: some seconds of writes, so that its file seldom grows.
pub const LOG_KEPT: i64 = 16 << 20;
/// From this many bytes on the write-ahead log is truncated as soon as no reader is active: a reader prevented its
/// restart.
pub const LOG_BYTES: u64 = 64 << 20;
/// Verified webhooks that wait for a fixed connector, for each app. At the bound the platform keeps further ones.
pub const DEAD_LETTERS: u32 = 10_000;
/// From this many on the operator is warned, while capacity is left: 80 % of [`DEAD_LETTERS`].
pub const DEAD_LETTERS_WARNED: u32 = DEAD_LETTERS / 5 * 4;
/// How long a fact is recognized by its key, at least; twice that at most. TikTok repeats a webhook for 72 hours
/// (TikTok API reference, Webhooks), other platforms for up to seven days.
pub const SEEN: Duration = Duration::from_secs(7 * 24 * 3600);
/// Stored refusals, at about half a kilobyte each; older ones are deleted, and still counted.
pub const REFUSALS: u32 = 100_000;
/// Entries of the audit log; a busy operator makes some hundred changes a day.
pub const AUDIT_ENTRIES: u32 = 1_000_000;
/// Rows deleted in one write, so that others wait for some milliseconds at most.
pub const FORGET_AT_ONCE: u32 = 1_000;
/// Messages that one search scans, the newest first: some tens of milliseconds of one reader.
pub const MESSAGES_SEARCHED: u32 = 10_000;
/// Rows that one page of a filtered list scans, so that a filter without matches occupies a reader for some tens of
/// milliseconds at most; the page then returns where to continue.
pub const ROWS_SCANNED: usize = 10_000;
/// Longest text of a message search.
pub const SEARCH_CHARS: usize = 200;
/// Rows of a table of counts: its first ones, which matter most.
pub const COUNTS: u32 = 1_000;

// ---- nodes ---------------------------------------------------------------------------------------------------------

/// How often a node sends a heartbeat: one small write, and a dead node is noticed within a few of them.
pub const NODE_BEAT: Duration = Duration::from_secs(2);
/// A node that was silent for this long is dead to the others, which take over its work: five heartbeats, so that a
/// slow commit or a pause of the machine does not count as a death.
pub const NODE_DEAD: Duration = Duration::from_secs(10);
/// From this long after its last heartbeat on, a node sends nothing: the 4 seconds to [`NODE_DEAD`] are for clock
/// drift, and for bytes that are being written.
pub const NODE_FENCED: Duration = Duration::from_secs(6);
/// How long an ended node is listed.
pub const NODE_LISTED: Duration = Duration::from_secs(24 * 3600);
/// How long a duty stays with its node without renewal: three times [`DUTY_RENEWED`].
pub const DUTY: Duration = Duration::from_secs(15);
/// How often a duty is renewed.
pub const DUTY_RENEWED: Duration = Duration::from_secs(5);

// ---- one call of a connector ---------------------------------------------------------------------------------------

/// How often the epoch increases: the resolution of every time budget below, and how long a guest occupies a worker at
/// a time.
pub const EPOCH_TICK: Duration = Duration::from_millis(2);
/// Processor time of a pure call: translating a webhook takes well under a millisecond. Other programs on the machine
/// do not consume it.
pub const PURE_CPU: Duration = Duration::from_millis(200);
/// Processor time of a call with network; waiting for the network costs none.
pub const CALL_CPU: Duration = Duration::from_secs(1);
/// Wall clock of a pure call, which waits for nothing: a hundred times its processor time, so that only a stalled host
/// reaches it.
pub const PURE_WALL: Duration = Duration::from_secs(20);
/// Wall clock of a call with network: three slow requests.
pub const CALL_WALL: Duration = Duration::from_secs(60);
/// Memory of one instance, summed over its memories.
pub const GUEST_MEMORY_BYTES: usize = 64 << 20;
/// Table elements of one instance, summed over its tables.
pub const GUEST_TABLE_ELEMENTS: usize = 20_000;
/// Stack of the guest.
pub const GUEST_STACK_BYTES: usize = 512 << 10;
/// Stack of a call: the difference to the guest's is for host functions.
pub const CALL_STACK_BYTES: usize = 2 << 20;
/// Unmapped bytes around each memory, so that most accesses need no check of their own.
pub const GUEST_GUARD_BYTES: u64 = 2 << 20;
/// Tables of one instance: toolchains create one or two for each core module.
pub const GUEST_TABLES: u32 = 8;
/// Core instances within one component: a Rust connector has four.
pub const CORE_INSTANCES: u32 = 32;
/// Live resource handles of one instance; the interface has no resources, so this only stops abuse.
pub const GUEST_HANDLES: usize = 1_000;
/// Slots of the pool kept warm after use, which makes the next call cheaper.
pub const WARM_SLOTS: u32 = 32;
/// Memory of a warm slot that is zeroed instead of unmapped: what an ordinary call uses.
pub const WARM_MEMORY_BYTES: usize = 1 << 20;
/// The upper end of a call's stack, zeroed instead of unmapped: an ordinary call goes no deeper, and unmapping flushes
/// the TLB of each processor that runs the program.
pub const WARM_STACK_BYTES: usize = 64 << 10;
/// Table bytes of a warm slot that are zeroed.
pub const WARM_TABLE_BYTES: usize = 64 << 10;
/// Functions of a component; a Rust connector has about a thousand.
pub const COMPONENT_FUNCTIONS: usize = 50_000;
/// Largest body of one function. Compile time is superlinear in it: 400 KiB took seconds, 1.6 MiB most of a minute.
pub const FUNCTION_BYTES: usize = 512 << 10;
/// Processor time of one compilation, in a separate process: TikTok's connector takes two seconds, Python's runtime
/// twenty.
pub const COMPILE_CPU: Duration = Duration::from_secs(60);
/// Wall clock of one compilation: its processor time on a busy machine.
pub const COMPILE_WALL: Duration = Duration::from_secs(120);
/// Memory of one compilation: three times the measured need of the largest allowed function.
pub const COMPILE_MEMORY_BYTES: u64 = 2 << 30;
/// Largest compiled form read from the cache: machine code is a few times as large as the component.
pub const COMPILED_BYTES: u64 = 256 << 20;
/// Longest wait for a slot; after that the call fails and may be retried.
pub const CALL_QUEUE: Duration = Duration::from_secs(10);
/// Bytes copied between guest and host for one crossing; wasmtime's own default is 128 MiB.
pub const HOSTCALL_FUEL: usize = 4 << 20;
/// Instances alive at once: the number of the pool's slots.
pub const INSTANCES: u32 = 256;
/// Calls with network of one connector at once, so that one cannot take every slot.
pub const CALLS_PER_CONNECTOR: usize = 64;
/// Pure calls of one connector at once, with separate slots: a slow platform delays no webhook. They wait for nothing,
/// so more would only compete for the processors.
pub const PURE_PER_CONNECTOR: usize = 32;
/// Calls with network of all connectors at once; the rest of [`INSTANCES`] is for pure calls.
pub const CALLS: u32 = 192;
/// Crashes of a version within [`CRASH_SPAN`] after which it is quarantined: one or two may come from one bad message,
/// and a broken version reaches this within seconds.
pub const CRASHES: usize = 5;
/// The span in which crashes are counted together.
pub const CRASH_SPAN: Duration = Duration::from_secs(60);
/// How long a change of versions waits for the calls of a channel to end before it takes over the channel's state; its
/// next calls wait as long. A send and this wait fit into [`LEASE`].
pub const STATE_LOCK: Duration = Duration::from_secs(20);
/// Channels whose states a change of versions moves at once: enough for several per commit.
pub const STATE_MOVES: usize = 8;
/// Events of one webhook.
pub const EVENTS_PER_WEBHOOK: usize = 1_000;
/// Longest text that a connector may return, in bytes: ten times the longest of any platform.
pub const TEXT_BYTES: usize = 64 << 10;
/// Longest platform document stored with a message.
pub const PLATFORM_DATA_BYTES: usize = 64 << 10;
/// How far a platform's clock may be ahead of the host's if its webhooks have no timestamp; as in most signature
/// schemes.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(300);
/// The first wait before a conversation's history is requested again after the platform refused it, and the longest.
pub const HISTORY_WAIT: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(6 * 3600));
/// Automatic attempts: for some two days. A manual request for the channel's history includes it again.
pub const HISTORY_ATTEMPTS: u32 = 16;
/// Consecutive refusals after which a channel's other conversations are postponed: the platform is failing.
pub const HISTORY_REFUSALS: u32 = 5;
/// Conversations that are requested again in one round.
pub const HISTORY_GAPS: u32 = 20;
/// Longest platform id.
pub const PLATFORM_ID_BYTES: usize = 512;
/// Longest name or other short text that a connector may return: names of people, files and ads.
pub const NAME_BYTES: usize = 1 << 10;
/// Longest value of an open enumeration: `rate_limited`.
pub const TOKEN_BYTES: usize = 64;
/// Buttons of one card.
pub const CARD_BUTTONS: usize = 64;
/// Entries of a list that a connector returns, except events: findings, capabilities, automations.
pub const ANSWER_ENTRIES: usize = 256;
/// Log lines of one call; further ones are counted.
pub const LOG_LINES: u32 = 100;
/// Bytes of one log line.
pub const LOG_LINE_BYTES: usize = 2 << 10;
/// Clock readings that a transcript stores of one call; an ordinary call makes a few.
pub const CLOCK_READINGS: usize = 1_000;
/// Buckets of a latency histogram, each twice the previous one, from 2 µs: the last contains a minute and more.
pub const LATENCY_STEPS: usize = 27;
/// Transcripts stored for each connector by default: a few hundred kilobytes of messages.
pub const TRANSCRIPTS: u32 = 1_000;
/// Transcripts stored per second, of all connectors; a replay needs many kinds of calls and not every one.
pub const TRANSCRIPTS_PER_SECOND: u32 = 10;
/// Bytes of a stored transcript. A call with several large responses has none.
pub const TRANSCRIPT_BYTES: usize = 512 << 10;
/// Transcripts that wait to be stored; further ones are dropped and counted.
pub const TRANSCRIPTS_WAITING: usize = 64;
/// Calls that one request may replay: some seconds of work.
pub const REPLAY_CALLS: u32 = 1_000;
/// Differences that are reported of one replayed call, and kinds of them in one report: beyond this a version is
/// different as a whole.
pub const DIFFERENCES: usize = 100;
/// Bytes of a value that is shown as a difference; a longer one is truncated.
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

// ---- outgoing requests ---------------------------------------------------------------------------------------------

/// Longest URL of a request.
pub const URL_BYTES: usize = 4 << 10;
/// Headers of a request, and of a response that is passed on.
pub const HEADERS: usize = 64;
/// Bytes of one header.
pub const HEADER_BYTES: usize = 8 << 10;
/// Largest body that a connector may send from its own memory.
pub const REQUEST_BODY_BYTES: usize = 1 << 20;
/// Parts of a multipart body; an upload has a file and a handful of fields.
pub const PARTS: usize = 16;
/// Largest response passed on to a connector, counted after decompression.
pub const ANSWER_BYTES: usize = 1 << 20;
/// Largest attachment fetched into the media store.
pub const MEDIA_BYTES: u64 = 20 << 20;
/// Time to connect.
pub const CONNECT: Duration = Duration::from_secs(5);
/// Time between two reads of a response.
pub const READ: Duration = Duration::from_secs(10);
/// Time of one request from resolving to the last byte.
pub const REQUEST: Duration = Duration::from_secs(30);
/// Time for an operator's endpoint to respond (Standard Webhooks recommends 15–30 s).
pub const ENDPOINT: Duration = Duration::from_secs(20);
/// Bytes of an endpoint's response that are stored in the attempt log.
pub const ENDPOINT_ANSWER_BYTES: usize = 2 << 10;
/// Time to export a batch of spans to a collector, and the last ones at the end of the process.
pub const TRACE_EXPORT: Duration = Duration::from_secs(5);
/// How far ahead of their turns an app's messages are leased. More than a worker's shortest sleep, so that no turn is
/// unused; and short, so that an app at its rate limit occupies few of [`SENDS_IN_FLIGHT`], and a channel with a
/// message to send gets its turn soon.
pub const RATE_AHEAD: Duration = Duration::from_millis(500);
/// Longest wait for the platform's rate inside a call; after that the call ends and is retried later.
pub const RATE_WAIT: Duration = Duration::from_secs(20);
/// Longest pause that a platform or its connector may request: daily quotas are reset within it.
pub const PLATFORM_PAUSE: Duration = Duration::from_secs(24 * 3600);

// ---- delivery ------------------------------------------------------------------------------------------------------

/// Sends in flight at once, over all channels.
pub const SENDS_IN_FLIGHT: usize = 64;
/// How long a worker's lease is valid: longer than a call may take.
pub const LEASE: Duration = Duration::from_secs(90);
/// Attempts of one message.
pub const SEND_ATTEMPTS: u32 = 12;
/// First wait between two attempts of a message, and the longest.
pub const SEND_RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// How long a message waits if no version serves its account, though its app's other accounts are served, before it is
/// checked again: each check is two transactions, for every conversation that waits.
pub const UNSERVED_WAIT: Duration = Duration::from_secs(10);
/// How long an uncertain message blocks its conversation.
pub const UNCERTAIN_WAIT: Duration = Duration::from_secs(150);
/// Deliveries in flight at once, over all endpoints.
pub const DELIVERIES_IN_FLIGHT: usize = 64;
/// Deliveries in flight at once to one endpoint, so that a slow one occupies at most an eighth of the above.
pub const DELIVERIES_PER_ENDPOINT: u32 = 8;
/// Deliveries per second to one endpoint, at most: the largest value that an operator may set.
pub const DELIVERIES_PER_SECOND: u32 = 1_000;
/// Events that one step of a recovery reads: some milliseconds of the database's writer, which serves others too.
pub const EVENTS_RECOVERED: u32 = 500;
/// A recovery whose last step is older than this has lost its caller, and is continued by the host: a step takes
/// milliseconds.
pub const RECOVERY_STEP: Duration = Duration::from_secs(10);
/// How long deliveries to an endpoint must have failed before that is reported: a restarted program is back by then.
pub const ENDPOINT_FAILING: Duration = Duration::from_secs(60);
/// Longest wait that an endpoint's `Retry-After` can cause: the longest wait of the schedule itself.
pub const ENDPOINT_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Attachments fetched at once.
pub const FETCHES_IN_FLIGHT: usize = 4;
/// How long the reading of one channel's history may take before another node starts it too: 500 conversations within
/// the platform's rate.
pub const HISTORY_LEASE: Duration = Duration::from_secs(3600);
/// How long after a send without a response an echo may still arrive.
pub const UNCERTAIN_GRACE: Duration = Duration::from_secs(120);
/// The first and the longest wait between two queries about one uncertain message: each uses the platform's rate, which
/// sends need too, and a message that the history did not show within the hour is usually left to a person.
pub const UNCERTAIN_QUERY_WAIT: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(3600));
/// The longest wait until any work of a channel is due again. A later due time was written before the clock was set
/// back.
pub const WORK_WAIT: Duration = Duration::from_secs(600);
/// Channels polled at once, of platforms that send no webhooks.
pub const POLLS_IN_FLIGHT: usize = 16;
/// The shortest and the longest wait between two polls of a channel: a second is not noticed by a person who writes,
/// and after some minutes no reply is expected any more. The longest is also the last wait after failures.
pub const POLL_WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// Attempts to fetch one attachment.
pub const FETCH_ATTEMPTS: u32 = 6;
/// How long before its end a window counts as closing: half a working day, so that the business can still reply, and a
/// window of 48 hours that opened in the morning is reported in the morning.
pub const WINDOW_CLOSING: Duration = Duration::from_secs(4 * 3600);
/// Conversations with due window events that are processed in one write: some milliseconds of the database's writer.
pub const CONVERSATIONS_SWEPT: u32 = 256;
/// How long a due window event waits for a connector that does not serve, whose rules are unknown.
pub const WINDOW_EVENTS_WAIT: Duration = Duration::from_secs(60);
/// How long a connect session may take; TikTok's code lives as long (TikTok API reference, OAuth, Lifetimes).
pub const CONNECT_SESSION: Duration = Duration::from_secs(600);
/// How long an OAuth callback waits for the result: after that a page reports that it is not known yet, and the work
/// continues.
pub const CONNECT_WAIT: Duration = Duration::from_secs(20);
/// How long the first set-up of a new channel, a call with network and its wait for the rate, may take until it counts
/// as interrupted.
pub const SET_UP: Duration = Duration::from_secs(180);
/// First wait until a failed set-up of a channel is retried, and the longest: some causes end within a minute, some
/// need a person.
pub const SET_UP_RETRY: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(3_600));
/// A credential is renewed this long before it expires; one with a short lifetime, in its last quarter.
pub const REFRESH_AHEAD: Duration = Duration::from_secs(6 * 3600);
/// How long a browser session lasts: a working week and its weekends, after which the key is entered again.
pub const SESSION: Duration = Duration::from_secs(7 * 24 * 3600);
/// Browser sessions of one key at once; a further one ends the oldest.
pub const SESSIONS_PER_KEY: u32 = 64;
/// Workspaces of a host: their list has no pages, and larger operators use several hosts.
pub const WORKSPACES: usize = 1_000;
/// Channels that one key may be bound to: each is read for a page of a list, and a larger set belongs in a workspace.
pub const CHANNELS_PER_KEY: usize = 100;
/// How long a signed media link is valid.
pub const MEDIA_LINK: Duration = Duration::from_secs(24 * 3600);
/// How long a background task that only leases work may be silent before the host counts as not ready: four of its
/// longest sleeps.
pub const LOOP_SILENCE: Duration = Duration::from_secs(120);
/// Longest round of a background task that calls platforms: some tens of calls, each with its own deadline.
pub const ROUND: Duration = Duration::from_secs(900);
/// How long a shutdown waits for work in progress.
pub const SHUTDOWN: Duration = Duration::from_secs(30);
