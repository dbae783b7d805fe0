//! Several nodes on one PostgreSQL database, behind one address as behind a load balancer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinHandle;

use crate::{Program, Stack};

/// The master key: the same for all nodes.
const MASTER_KEY: &str = "0707070707070707070707070707070707070707070707070707070707070707";

/// The nodes, by number.
#[derive(Debug)]
pub struct Nodes {
    store: String,
    running: Vec<Option<Program>>,
    balancer: Balancer,
}

impl Nodes {
    /// Starts the first of so many nodes on the database at `store`; they are reached at the address of the stack's
    /// Weir. The other nodes find everything that is set up before they [join](Self::join) when they start.
    ///
    /// # Errors
    /// The node cannot be started.
    pub async fn start(stack: &Stack, store: &str, count: usize) -> anyhow::Result<Self> {
        let mut nodes = Self {
            store: store.to_owned(),
            running: (0..count).map(|_| None).collect(),
            balancer: Balancer::start(stack.port(), count).await?,
        };
        nodes.start_node(stack, 0).await?;
        Ok(nodes)
    }

    /// Starts the others.
    ///
    /// # Errors
    /// A node cannot be started.
    pub async fn join(&mut self, stack: &Stack) -> anyhow::Result<()> {
        for number in 1..self.count() {
            self.start_node(stack, number).await?;
        }
        Ok(())
    }

    /// How many there are, down ones included.
    pub fn count(&self) -> usize {
        self.running.len()
    }

    /// Starts a node, or starts it again.
    ///
    /// # Errors
    /// It cannot be started.
    pub async fn start_node(&mut self, stack: &Stack, number: usize) -> anyhow::Result<()> {
        let folder = stack.data().join(format!("node-{number}"));
        std::fs::create_dir_all(&folder)?;
        let mut command = stack.weir_command();
        command
            .env("WEIR_LISTEN", "127.0.0.1:0")
            .env("WEIR_DATA", &folder)
            .env("WEIR_STORE", &self.store)
            .env("WEIR_NODE_NAME", format!("node-{number}"))
            .env("WEIR_MASTER_KEY", MASTER_KEY)
            // Ctrl-C at a terminal goes to the parent process, which stops them.
            .process_group(0);
        let node = Program::start("weir", &mut command, &folder.join("weir.log")).await?;
        self.balancer.set(number, Some(address(&node)?));
        self.running[number] = Some(node);
        Ok(())
    }

    /// Ends a node as a power cut would.
    ///
    /// # Errors
    /// It was not running.
    pub async fn kill(&mut self, number: usize) -> anyhow::Result<()> {
        self.balancer.set(number, None);
        let node = self.running[number].take().context("the node is not running")?;
        node.kill().await
    }

    /// Suspends a node; it gets no new connections, as after a failed health check.
    ///
    /// # Errors
    /// It was not running.
    pub async fn freeze(&self, number: usize) -> anyhow::Result<()> {
        self.balancer.set(number, None);
        self.signal(number, "-STOP").await
    }

    /// Resumes a suspended node.
    ///
    /// # Errors
    /// It was not running.
    pub async fn thaw(&self, number: usize) -> anyhow::Result<()> {
        self.signal(number, "-CONT").await?;
        let node = self.running[number].as_ref().context("the node is not running")?;
        self.balancer.set(number, Some(address(node)?));
        Ok(())
    }

    async fn signal(&self, number: usize, signal: &str) -> anyhow::Result<()> {
        let node = self.running[number].as_ref().context("the node is not running")?;
        let id = node.id().context("the node is gone")?.to_string();
        let sent = Command::new("kill").args([signal, &id]).status().await?;
        anyhow::ensure!(sent.success(), "node {number} cannot be sent {signal}");
        Ok(())
    }

    /// Ends all nodes as Ctrl-C would.
    ///
    /// # Errors
    /// One did not end well.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        for node in self.running.drain(..).flatten() {
            node.stop().await?;
        }
        Ok(())
    }

    /// The same, except for nodes that were already ended.
    ///
    /// # Errors
    /// One did not end well.
    pub async fn stop_running(mut self) -> anyhow::Result<()> {
        for mut node in self.running.drain(..).flatten() {
            if node.is_running()? {
                node.stop().await?;
            }
        }
        Ok(())
    }

    /// The process of a node.
    pub fn process(&self, number: usize) -> Option<u32> {
        self.running[number].as_ref().and_then(Program::id)
    }

    /// The address of a single node.
    pub fn origin(&self, number: usize) -> Option<&str> {
        self.running[number].as_ref().map(Program::origin)
    }
}

fn address(node: &Program) -> anyhow::Result<SocketAddr> {
    let address = node.origin().trim_start_matches("http://");
    address.parse().with_context(|| format!("no address: {address}"))
}

/// Forwards each connection to the next node that accepts it.
#[derive(Debug)]
struct Balancer {
    nodes: Arc<Mutex<Vec<Option<SocketAddr>>>>,
    task: JoinHandle<()>,
}

impl Balancer {
    async fn start(port: u16, count: usize) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        let nodes: Arc<Mutex<Vec<Option<SocketAddr>>>> = Arc::new(Mutex::new(vec![None; count]));
        let (known, next) = (Arc::clone(&nodes), Arc::new(AtomicUsize::new(0)));
        let task = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let first = next.fetch_add(1, Ordering::Relaxed);
                let mut nodes = known.lock().unwrap_or_else(PoisonError::into_inner).clone();
                nodes.rotate_left(first % count);
                tokio::spawn(async move {
                    for address in nodes.into_iter().flatten() {
                        if let Ok(mut node) = TcpStream::connect(address).await {
                            // If either side closes its connection, both are closed.
                            let _ = tokio::io::copy_bidirectional(&mut client, &mut node).await;
                            return;
                        }
                    }
                });
            }
        });
        Ok(Self { nodes, task })
    }

    fn set(&self, number: usize, address: Option<SocketAddr>) {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)[number] = address;
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
