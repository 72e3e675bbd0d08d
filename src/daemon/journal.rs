//! The log: to the journal with its fields where stderr is the journal's, else to stderr as lines.
//!
//! A thread of its own does the writing, since a journal that does not read would block whoever
//! writes to it. The owner never waits: what does not fit is dropped and counted.
#![expect(clippy::disallowed_methods, reason = "driver: a thread, the environment")]

use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU8, AtomicU64};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::debug_fn;
use tracing_subscriber::prelude::*;

use crate::config::LogLevel;
use crate::speaker::notice::{Level, Notice};

/// Lines that may wait for the writer.
const QUEUE: usize = 8192;
/// How long the end of the process waits for the last lines.
const FLUSH: Duration = Duration::from_millis(500);

/// Takes lines for the log.
#[derive(Clone, Debug)]
pub(super) struct Log {
    lines: SyncSender<Line>,
    dropped: Arc<AtomicU64>,
    least: Arc<AtomicU8>,
}

enum Line {
    Notice(Notice),
    Flush(SyncSender<()>),
}

impl Log {
    /// Starts the writer.
    pub(super) fn start(level: LogLevel) -> io::Result<Self> {
        let ours = Targets::new().with_target("vipcast", LevelFilter::TRACE);
        let registry = tracing_subscriber::registry().with(ours.with_default(LevelFilter::OFF));
        let journal = if stderr_is_journal() { tracing_journald::layer().ok() } else { None };
        match journal {
            Some(layer) => {
                let layer = layer.with_field_prefix(None);
                registry.with(layer.with_syslog_identifier("vipcastd".into())).init();
            }
            None => {
                // The fields repeat what the message says.
                let message = debug_fn(|writer, field, value| match field.name() {
                    "message" => write!(writer, "{value:?}"),
                    _ => Ok(()),
                });
                let layer = tracing_subscriber::fmt::layer()
                    .with_writer(io::stderr)
                    .with_ansi(false)
                    .with_target(false)
                    .fmt_fields(message);
                registry.with(layer).init();
            }
        }
        let (sender, receiver) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let counter = dropped.clone();
        thread::Builder::new().name("log".into()).spawn(move || write(&receiver, &counter))?;
        let log = Self { lines: sender, dropped, least: Arc::default() };
        log.set_level(level);
        Ok(log)
    }

    /// From now on, what is less severe is not logged.
    pub(super) fn set_level(&self, level: LogLevel) {
        let least = match level {
            LogLevel::Trace | LogLevel::Debug => Level::Debug,
            LogLevel::Info => Level::Info,
            LogLevel::Warn => Level::Warn,
            LogLevel::Error => Level::Error,
        };
        self.least.store(least as u8, Relaxed);
    }

    /// Logs a line; never waits.
    pub(super) fn write(&self, notice: Notice) {
        if notice.level as u8 >= self.least.load(Relaxed)
            && self.lines.try_send(Line::Notice(notice)).is_err()
        {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// Waits a little for everything that was logged to be written.
    pub(super) fn flush(&self) {
        let (done, finished) = sync_channel(1);
        if self.lines.try_send(Line::Flush(done)).is_ok() {
            // A journal that does not read must not keep the process from ending.
            let _ = finished.recv_timeout(FLUSH);
        }
    }
}

fn write(lines: &Receiver<Line>, dropped: &AtomicU64) {
    while let Ok(line) = lines.recv() {
        match line {
            Line::Notice(notice) => emit(&notice),
            Line::Flush(done) => {
                // Nobody may be waiting any more.
                let _ = done.try_send(());
            }
        }
        let count = dropped.swap(0, Relaxed);
        if count > 0 {
            let text = format!("{count} lines were lost: the log could not be written fast enough");
            emit(&Notice::new(Level::Warn, text));
        }
    }
}

fn emit(notice: &Notice) {
    macro_rules! emit_at {
        ($level:ident) => {
            tracing::$level!(
                target: "vipcast",
                peer = notice.peer.as_ref().map(tracing::field::display),
                service = notice.service.as_ref().map(tracing::field::display),
                check = notice.check.as_ref().map(tracing::field::display),
                prefix = notice.prefix.as_ref().map(tracing::field::display),
                reason = notice.reason.as_deref(),
                "{}",
                notice.message
            )
        };
    }
    match notice.level {
        Level::Debug => emit_at!(debug),
        Level::Info => emit_at!(info),
        Level::Warn => emit_at!(warn),
        Level::Error => emit_at!(error),
    }
}

/// Whether systemd connected stderr to the journal: `JOURNAL_STREAM` names its device and inode
/// (systemd.exec(5)).
fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let stderr = std::fs::metadata("/proc/self/fd/2");
    stderr.is_ok_and(|stderr| stream == format!("{}:{}", stderr.dev(), stderr.ino()))
}
