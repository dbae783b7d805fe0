//! A request leaves when its departure is ready, not before: over a new connection and over a reused one.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use weir_domain::credential::Secrets;

use super::support::{SHORT, Server, config, egress, get, send};
use crate::{Answer, Config, Departure, Egress, EgressError, NoBodies};

/// A departure that waits until the test opens it.
struct Door {
    opened: oneshot::Receiver<()>,
    was_polled: Arc<Notify>,
    left: Arc<AtomicUsize>,
    answered: Arc<AtomicUsize>,
}

impl Departure for Door {
    fn poll_leave(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.was_polled.notify_one();
        Pin::new(&mut self.opened).poll(context).map(drop)
    }

    fn left(&mut self) {
        self.left.fetch_add(1, Ordering::SeqCst);
    }

    fn answered(&mut self) {
        self.answered.fetch_add(1, Ordering::SeqCst);
    }
}

/// A request on its way, and what the test has to do with it.
struct Sending {
    task: JoinHandle<Result<Answer, EgressError>>,
    open: oneshot::Sender<()>,
    was_polled: Arc<Notify>,
    left: Arc<AtomicUsize>,
    answered: Arc<AtomicUsize>,
}

fn sending(egress: &Egress, server: &Server) -> Sending {
    let (open, opened) = oneshot::channel();
    let (was_polled, left, answered) = (Arc::<Notify>::default(), Arc::default(), Arc::default());
    let door = Door {
        opened,
        was_polled: Arc::clone(&was_polled),
        left: Arc::clone(&left),
        answered: Arc::clone(&answered),
    };
    let (egress, permit) = (egress.clone(), get(server));
    let task = tokio::spawn(async move {
        let secrets = Secrets::default();
        egress.send_at(Some(Box::new(door)), permit, &secrets, &NoBodies).await
    });
    Sending {
        task,
        open,
        was_polled,
        left,
        answered,
    }
}

#[tokio::test]
async fn nothing_leaves_before_its_departure() {
    let server = Server::saying("hi").await;
    let egress = egress();
    for before in 0..3 {
        let sending = sending(&egress, &server);
        sending.was_polled.notified().await;
        assert_eq!((server.seen().len(), sending.left.load(Ordering::SeqCst)), (before, 0));
        sending.open.send(()).expect("it waits");
        sending.task.await.expect("no panic").expect("an answer");
        let seen = (
            server.seen().len(),
            sending.left.load(Ordering::SeqCst),
            sending.answered.load(Ordering::SeqCst),
        );
        assert_eq!(seen, (before + 1, 1, 1));
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn what_is_given_up_at_the_gate_never_leaves() {
    let server = Server::saying("hi").await;
    let egress = egress();
    send(&egress, get(&server)).await.expect("an answer");
    let given_up = sending(&egress, &server);
    given_up.was_polled.notified().await;
    given_up.task.abort();
    assert!(given_up.task.await.is_err());
    // Whether or not the caller still waits.
    let _ = given_up.open.send(());
    send(&egress, get(&server)).await.expect("an answer");
    assert_eq!((server.seen().len(), given_up.left.load(Ordering::SeqCst)), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn late_departure_is_not_uncertain() {
    let server = Server::saying("hi").await;
    let egress = Egress::new(Config {
        request: SHORT,
        ..config()
    });
    let sending = sending(&egress.expect("a way out"), &server);
    let error = sending.task.await.expect("no panic").expect_err("its time is over");
    assert!(
        matches!(error, EgressError::Unreachable { .. }) && !error.may_have_been_seen(),
        "{error:?}"
    );
    assert!(server.seen().is_empty());
}

/// A departure that comes too late.
struct Withheld;

impl Departure for Withheld {
    fn withheld(&self) -> Option<String> {
        Some("another node may have sent it".to_owned())
    }

    fn poll_leave(&mut self, _: &mut Context<'_>) -> Poll<()> {
        panic!("the departure must not be polled")
    }

    fn left(&mut self) {
        panic!("it did not leave")
    }
}

#[tokio::test]
async fn withheld_request_is_not_uncertain() {
    let server = Server::saying("hi").await;
    let egress = egress();
    // Over a new connection, and over one that was used.
    for before in [0, 1] {
        let secrets = Secrets::default();
        let withheld = egress.send_at(Some(Box::new(Withheld)), get(&server), &secrets, &NoBodies);
        let error = withheld.await.map(drop).expect_err("it is withheld");
        assert!(!error.may_have_been_seen(), "{error:?}");
        assert!(error.to_string().contains("another node may have sent it"), "{error}");
        assert_eq!(server.seen().len(), before);
        send(&egress, get(&server)).await.expect("an answer");
    }
}
