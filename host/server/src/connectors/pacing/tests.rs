//! Rate limits hold and are used fully, whoever sends the requests.

use super::*;

fn pacer(pacers: &Arc<Pacers>, channel: Option<ChannelId>, permits: u32, scope: RateScope) -> ChannelPacer {
    let bucket = Bucket {
        app: "tiktok".to_owned(),
        channel: channel.filter(|_| scope == RateScope::Channel),
        rule: 0,
        is_divided: false,
    };
    let rate = Rate {
        permits,
        per: Duration::from_secs(1),
        scope,
        classes: vec![RouteClass::MessageSend],
    };
    ChannelPacer {
        pacers: Arc::clone(pacers),
        rates: vec![(bucket, rate)],
        kept: Mutex::default(),
    }
}

#[tokio::test(start_paused = true)]
async fn two_channels_of_an_app_share_its_rate() {
    let pacers = Pacers::counting(None);
    let one = pacer(&pacers, None, 10, RateScope::App);
    let other = pacer(&pacers, None, 10, RateScope::App);
    let began = Instant::now();
    for turn in 0..20 {
        let pacer = if turn % 2 == 0 { &one } else { &other };
        pacer.turn(RouteClass::MessageSend).await.expect("within reach");
    }
    assert!(began.elapsed() >= Duration::from_millis(1_900), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_no_rule_counts_does_not_wait() {
    let pacer = pacer(&Pacers::counting(None), None, 1, RateScope::App);
    let began = Instant::now();
    for _ in 0..100 {
        pacer.turn(RouteClass::Read).await.expect("no rule");
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_the_platform_asked_for_holds_the_next_turn() {
    let pacer = pacer(&Pacers::counting(None), None, 10, RateScope::App);
    pacer.hold(Duration::from_secs(5));
    let began = Instant::now();
    pacer.turn(RouteClass::MessageSend).await.expect("within reach");
    assert!(began.elapsed() >= Duration::from_secs(5));
    pacer.hold(Duration::from_secs(60));
    let too_long = pacer.turn(RouteClass::MessageSend).await.map(drop);
    let too_long = too_long.expect_err("too far in the future");
    assert!(too_long.wait > limits::RATE_WAIT);
}

#[tokio::test(start_paused = true)]
async fn messages_leave_in_the_order_in_which_their_turns_were_kept() {
    let pacers = Pacers::counting(None);
    let one = pacer(&pacers, None, 10, RateScope::App);
    let other = pacer(&pacers, None, 10, RateScope::App);
    one.keep_turn();
    other.keep_turn();
    let began = Instant::now();
    let left = async |pacer: ChannelPacer| {
        pacer.turn(RouteClass::MessageSend).await.expect("within reach");
        began.elapsed()
    };
    // The second is ready first, but leaves in its own turn.
    let (second, first) = tokio::join!(left(other), left(one));
    assert!(first < Duration::from_millis(2), "{first:?}");
    assert!(second >= Duration::from_millis(100), "{second:?}");
}

#[tokio::test(start_paused = true)]
async fn missed_turn_is_not_used_late() {
    let pacers = Pacers::counting(None);
    let began = Instant::now();
    let mut leaving = tokio::task::JoinSet::new();
    for n in 0..40 {
        let pacer = pacer(&pacers, None, 10, RateScope::App);
        pacer.keep_turn();
        leaving.spawn(async move {
            // A picture takes time to upload, a text does not.
            tokio::time::sleep(Duration::from_millis(n * 1_700 % 4_000)).await;
            pacer.turn(RouteClass::MessageSend).await.expect("within reach");
            began.elapsed()
        });
    }
    let mut left = leaving.join_all().await;
    left.sort_unstable();
    let crowded = left
        .windows(11)
        .find(|eleven| eleven[10] - eleven[0] < Duration::from_secs(1));
    assert_eq!(crowded, None, "{left:?}");
}

/// Waits for its turn, leaves, and is answered immediately.
async fn leave(mut turn: Option<Box<dyn Departure>>) {
    if let Some(turn) = &mut turn {
        std::future::poll_fn(|context| turn.poll_leave(context)).await;
        turn.left();
        turn.answered();
    }
}

#[tokio::test(start_paused = true)]
async fn a_busy_machine_overruns_no_rate_and_uses_it_up() {
    let pacers = Pacers::counting(None);
    let began = Instant::now();
    let mut leaving = tokio::task::JoinSet::new();
    for n in 0..150 {
        let pacer = pacer(&pacers, None, 10, RateScope::App);
        pacer.keep_turn();
        leaving.spawn(async move {
            let turn = pacer.turn(RouteClass::MessageSend).await.expect("within reach");
            // Between its turn and its first byte: a connection is opened, or the task is not scheduled.
            tokio::time::sleep(Duration::from_millis(n * 37 % 90)).await;
            leave(turn).await;
            began.elapsed()
        });
    }
    let mut left = leaving.join_all().await;
    left.sort_unstable();
    let crowded = left
        .windows(11)
        .find(|eleven| eleven[10] - eleven[0] < Duration::from_millis(1_009));
    assert_eq!(crowded, None, "{left:?}");
    assert!(left[149] < Duration::from_millis(149 * 102 + 200), "{:?}", left[149]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_at_the_gate_leaves_in_turn() {
    let pacers = Pacers::counting(None);
    let began = Instant::now();
    let at = |ms| sleep_until(began + Duration::from_millis(ms));
    let taken = || {
        let pacer = pacer(&pacers, None, 1, RateScope::App);
        pacer.keep_turn();
        pacer
    };
    let (before, one, other) = (taken(), taken(), taken());
    let turn = async |pacer: ChannelPacer| {
        let turn = pacer.turn(RouteClass::MessageSend).await.expect("within reach");
        turn.expect("it is counted")
    };
    // It is late, so that the next two wait for the same moment, the later of them longer.
    let mut before = turn(before).await;
    std::future::poll_fn(|context| before.poll_leave(context)).await;
    let late = async {
        at(1_500).await;
        before.left();
        before.answered();
    };
    let leaves = async |pacer, comes| {
        let turn = turn(pacer).await;
        at(comes).await;
        leave(Some(turn)).await;
        began.elapsed()
    };
    let ((), one, other) = tokio::join!(late, leaves(one, 2_200), leaves(other, 2_030));
    assert!(one < Duration::from_millis(2_600), "{one:?}");
    assert!(other > Duration::from_millis(3_500), "{other:?}");
}

#[tokio::test(start_paused = true)]
async fn unused_turn_is_held_one_span() {
    let pacers = Pacers::counting(None);
    let turn = async || {
        let pacer = pacer(&pacers, None, 1, RateScope::App);
        pacer.turn(RouteClass::MessageSend).await.expect("within reach")
    };
    let mut gone = turn().await.expect("it is counted");
    std::future::poll_fn(|context| gone.poll_leave(context)).await;
    drop(gone);
    let began = Instant::now();
    leave(turn().await).await;
    assert!(began.elapsed() >= Duration::from_millis(1_009), "{:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_millis(1_100), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_answered_late_is_counted_as_arrived_late() {
    let pacers = Pacers::counting(None);
    let turn = async || {
        let pacer = pacer(&pacers, None, 1, RateScope::App);
        let turn = pacer.turn(RouteClass::MessageSend).await.expect("within reach");
        turn.expect("it is counted")
    };
    leave(Some(turn().await)).await;
    let mut late = turn().await;
    std::future::poll_fn(|context| late.poll_leave(context)).await;
    late.left();
    tokio::time::sleep(Duration::from_millis(300)).await;
    late.answered();
    let answered = Instant::now();
    leave(Some(turn().await)).await;
    assert!(
        answered.elapsed() >= Duration::from_millis(1_009),
        "{:?}",
        answered.elapsed()
    );
    assert!(
        answered.elapsed() < Duration::from_millis(1_100),
        "{:?}",
        answered.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn unqueued_request_leaves_at_once() {
    let pacer = pacer(&Pacers::counting(None), None, 10, RateScope::App);
    pacer.keep_turn();
    tokio::time::sleep(Duration::from_millis(60)).await;
    let ready = Instant::now();
    pacer.turn(RouteClass::MessageSend).await.expect("it is free");
    assert!(ready.elapsed() < Duration::from_millis(2), "{:?}", ready.elapsed());
}

#[tokio::test(start_paused = true)]
async fn pause_holds_and_respaces_waiting() {
    let pacers = Pacers::counting(None);
    let began = Instant::now();
    let mut waiting = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let pacer = pacer(&pacers, None, 10, RateScope::App);
        pacer.keep_turn();
        waiting.spawn(async move {
            pacer.turn(RouteClass::MessageSend).await.expect("within reach");
            began.elapsed()
        });
    }
    pacer(&pacers, None, 10, RateScope::App).hold(Duration::from_secs(5));
    let mut left = waiting.join_all().await;
    left.sort_unstable();
    assert!(left[0] >= Duration::from_secs(5), "{left:?}");
    assert!(
        left.windows(2).all(|two| two[1] - two[0] >= Duration::from_millis(100)),
        "{left:?}"
    );
}

#[test]
fn low_rate_is_shared_high_rate_divided() {
    let folder = tempfile::tempdir().expect("a directory");
    let mint = Arc::new(weir_domain::id::Mint::from_seed([1; 32]));
    let store = weir_store::SqliteStore::open(
        folder.path().join("weir.db"),
        &weir_store::MasterKey::new([2; 32]),
        mint,
    );
    let pacers = Pacers::counting(Some(SharedCounter(Arc::new(store.expect("a database")))));
    let rate = |permits| Rate {
        permits,
        per: Duration::from_secs(1),
        scope: RateScope::App,
        classes: vec![RouteClass::MessageSend],
    };
    assert_eq!(pacers.share(&rate(10)), (rate(10), false));
    assert_eq!(
        pacers.share(&rate(6_400)),
        (rate(100), true),
        "until the nodes know of each other"
    );
    pacers.divide_among(4);
    assert_eq!(pacers.share(&rate(6_400)), (rate(1_600), true));
    let alone = Pacers::counting(None);
    assert_eq!(alone.share(&rate(6_400)), (rate(6_400), false));
}
