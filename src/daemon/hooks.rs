//! Runs hooks, on a thread of their own from the first one on: what they write is read there.
use std::io;
use std::thread;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::QUEUE;
use crate::check::Failure;
use crate::process::driver::Runner;
use crate::process::{Ended, Status};
use crate::service::hooks::{Report, Run};
use crate::sys;

/// Reaches the thread.
pub(super) struct Hooks {
    /// Once there is one
    thread: Option<mpsc::UnboundedSender<Run>>,
    reports: mpsc::Sender<Report>,
    ended: mpsc::Receiver<Report>,
}

impl Hooks {
    pub(super) fn new() -> Self {
        let (reports, ended) = mpsc::channel(QUEUE);
        Self { thread: None, reports, ended }
    }

    /// Runs it; its end is reported.
    pub(super) fn run(&mut self, run: Run) {
        let service = run.environment.service.clone();
        if let Err(error) = self.try_run(run) {
            let text = format!("cannot start a thread: {}", sys::describe(&error));
            let result = Err(Failure::new(text));
            // There is one at most for each service, and room for many.
            let _ = self.reports.try_send(Report { service, result, took: Default::default() });
        }
    }

    fn try_run(&mut self, run: Run) -> io::Result<()> {
        let thread = match self.thread.take() {
            Some(thread) => thread,
            None => spawn(self.reports.clone())?,
        };
        // It is gone only when the process ends.
        let _ = thread.send(run);
        self.thread = Some(thread);
        Ok(())
    }

    /// Waits for the end of one. Nothing is lost by dropping this.
    pub(super) async fn ended(&mut self) -> Option<Report> {
        self.ended.recv().await
    }

    /// Ends all that run.
    pub(super) async fn end(mut self) {
        drop(self.thread);
        drop(self.reports);
        while self.ended.recv().await.is_some() {}
    }
}

/// Starts the thread. When it is told to end, it closes `reports` as soon as nothing runs any more.
fn spawn(reports: mpsc::Sender<Report>) -> io::Result<mpsc::UnboundedSender<Run>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (sender, mut runs) = mpsc::unbounded_channel();
    thread::Builder::new().name("hooks".into()).spawn(move || {
        runtime.block_on(async {
            while let Some(run) = runs.recv().await {
                tokio::spawn(execute(run, reports.clone()));
            }
        });
        runtime.shutdown_background();
        drop(reports);
    })?;
    Ok(sender)
}

async fn execute(run: Run, reports: mpsc::Sender<Report>) {
    let Run { program, environment, timeout: limit, .. } = run;
    let service = environment.service.clone();
    let late = format!("{} did not end within {limit:?}", program.path.display());
    let started = Instant::now();
    let runner = Runner::new(program);
    let turn = runner.turn().await;
    let result = match timeout(limit, runner.run(turn, environment)).await {
        Ok(Ok(Ended { status: Status::Exited(0), .. })) => Ok(()),
        Ok(Ok(ended)) => Err(ended.to_string()),
        Ok(Err(text)) => Err(text),
        Err(_) => Err(late),
    };
    let result = result.map_err(Failure::new);
    // The owner is gone only when the process ends.
    let _ = reports.send(Report { service, result, took: started.elapsed() }).await;
}
