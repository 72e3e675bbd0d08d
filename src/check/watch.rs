//! Looks whether files are there, and tells of those that come and go as it happens, by inotify(7).
//! What that does not see, such as what others do on a network file system, the next look does.
#![expect(clippy::disallowed_methods, reason = "driver: files, inotify, a task and a timer")]

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::driver::Wake;

/// What brings a file into a folder or takes it away, and the folder itself.
const CHANGES: AddWatchFlags = AddWatchFlags::IN_CREATE
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_MOVE)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF)
    .union(AddWatchFlags::IN_ONLYDIR);
/// Whoever makes and removes a file all the time has it probed no more often than this.
const PAUSE: Duration = Duration::from_millis(10);

/// Looks at one file, once at a time: where a network file system hangs, a look never ends, and
/// keeps a thread.
#[derive(Clone, Debug)]
pub(super) struct Look(Arc<Semaphore>);

impl Look {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(1)))
    }

    /// Whether there is something at this path; a symbolic link counts as what it leads to.
    pub(super) async fn look(&self, path: &Path) -> io::Result<bool> {
        let turn = self.0.clone().acquire_owned().await;
        let path = path.to_owned();
        let look = spawn_blocking(move || {
            let found = path.metadata();
            drop(turn);
            found
        });
        match look.await.map_err(io::Error::other)? {
            Ok(_) => Ok(true),
            Err(error) if is_absence(error.kind()) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn is_absence(kind: io::ErrorKind) -> bool {
    [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&kind)
}

/// Files that are watched.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    /// To the task that watches, once there is one
    task: Option<mpsc::UnboundedSender<Watched>>,
}

/// A file whose check is woken when it may have come or gone.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    wake: Weak<Wake>,
    /// The nearest folder that is there, and what must come or go in it
    place: Option<(WatchDescriptor, OsString)>,
}

impl Watcher {
    /// Watches a file for as long as what is returned is kept.
    pub(super) fn watch(&mut self, path: &Path, wake: Wake) -> Arc<Wake> {
        let wake = Arc::new(wake);
        let watched = Watched { path: path.into(), wake: Arc::downgrade(&wake), place: None };
        let task = self.task.get_or_insert_with(|| {
            let (sender, receiver) = mpsc::unbounded_channel();
            tokio::spawn(run(receiver));
            sender
        });
        // Where there is no inotify, probes alone find out.
        let _ = task.send(watched);
        wake
    }
}

async fn run(mut requests: mpsc::UnboundedReceiver<Watched>) {
    let Ok(inotify) = Inotify::init(InitFlags::IN_CLOEXEC).map(Arc::new) else { return };
    // What finds no room here stays in the kernel, which says so when it has none left either.
    let (happened, mut happens) = mpsc::channel(1);
    let reader = inotify.clone();
    let read = move || {
        while let Some(events) = read(&reader)
            && happened.blocking_send(events).is_ok()
        {}
    };
    if thread::Builder::new().name("files".into()).spawn(read).is_err() {
        return;
    }
    let (settled, mut settling) = mpsc::unbounded_channel();
    // A folder may be where nobody answers.
    let settle = |mut file: Watched, round: u64| {
        let (inotify, settled) = (inotify.clone(), settled.clone());
        spawn_blocking(move || {
            file.place = nearest(&inotify, &file.path);
            let _ = settled.send((file, round));
        });
    };
    let mut files: Vec<Watched> = Vec::new();
    let mut folders = HashSet::new();
    // How often something has happened.
    let mut round = 0;
    loop {
        tokio::select! {
            request = requests.recv() => match request {
                Some(file) => settle(file, round),
                None => return,
            },
            Some((file, began)) = settling.recv() => {
                folders.extend(file.place.as_ref().map(|(folder, _)| *folder));
                // Both it and the folders above it may have changed before they were watched.
                if let Some(wake) = file.wake.upgrade() {
                    wake.wake();
                    if began == round { files.push(file) } else { settle(file, round) }
                }
                leave(&inotify, &mut folders, &files);
            }
            Some(events) = happens.recv() => {
                round += 1;
                let is_changed = |file: &mut Watched| file.is_changed_by(&events);
                files.extract_if(.., is_changed).for_each(|file| settle(file, round));
                sleep(PAUSE).await;
            }
        }
        files.retain(|file| file.wake.strong_count() > 0);
    }
}

/// Waits until something happens in one of the folders.
fn read(inotify: &Inotify) -> Option<Vec<InotifyEvent>> {
    loop {
        match inotify.read_events() {
            Err(Errno::EINTR) => {}
            events => return events.ok(),
        }
    }
}

/// Watches the folder of a file, or the nearest one above it that is there.
fn nearest(inotify: &Inotify, path: &Path) -> Option<(WatchDescriptor, OsString)> {
    let watch = || {
        path.ancestors().find_map(|path| {
            let folder = inotify.add_watch(path.parent()?, CHANGES).ok()?;
            Some((folder, path.file_name()?.to_owned()))
        })
    };
    let mut place = watch();
    loop {
        // Another one nearer by may have come before this one was watched.
        let again = watch();
        if again == place {
            return place;
        }
        place = again;
    }
}

/// Watches no longer what is of no use to any file.
fn leave(inotify: &Inotify, folders: &mut HashSet<WatchDescriptor>, files: &[Watched]) {
    let is_used = |folder: &WatchDescriptor| {
        files.iter().any(|file| file.place.as_ref().is_some_and(|(used, _)| used == folder))
    };
    folders.extract_if(|folder| !is_used(folder)).for_each(|folder| {
        // It fails when the folder is gone.
        let _ = inotify.rm_watch(folder);
    });
}

impl Watched {
    fn is_changed_by(&self, events: &[InotifyEvent]) -> bool {
        events.iter().any(|event| {
            let is_there = |(folder, name): &(WatchDescriptor, OsString)| {
                // Without a name it is about the folder itself.
                *folder == event.wd && event.name.as_ref().is_none_or(|n| n == name)
            };
            event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW)
                || self.place.as_ref().is_some_and(is_there)
        })
    }
}
