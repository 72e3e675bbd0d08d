//! What operators do with services: kept first, then in force. One at a time, in the order in which
//! they came, away from the owner's loop: a disk may take its time.
use std::collections::VecDeque;
use std::io;
use std::time::Instant;

use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

use super::owner::Owner;
use super::store::Store;
use crate::control::{Administration, Refusal};
use crate::route::ServiceName;
use crate::service::admin::{Admin, Keep, Mode};
use crate::speaker::Input;
use crate::speaker::notice::{Level, Notice};
use crate::sys;

/// Who waits for an answer.
pub(super) type Reply = oneshot::Sender<Result<(), Refusal>>;

/// What is to be kept.
pub(super) struct Administrations {
    store: Store,
    queue: VecDeque<(ServiceName, Administration, Reply)>,
    saving: Option<Saving>,
}

/// What is being written, and what follows then.
struct Saving {
    task: JoinHandle<io::Result<()>>,
    service: ServiceName,
    admin: Option<Admin>,
    reply: Reply,
}

/// The end of a [`Saving`].
pub(super) struct Saved {
    service: ServiceName,
    admin: Option<Admin>,
    reply: Reply,
    result: io::Result<()>,
}

impl Administrations {
    pub(super) fn new(store: Store) -> Self {
        Self { store, queue: VecDeque::new(), saving: None }
    }

    /// Waits for what is being written. Nothing is lost by dropping this.
    pub(super) async fn saved(&mut self) -> Saved {
        let result = match &mut self.saving {
            Some(saving) => (&mut saving.task).await.expect("a panic ends the process"),
            None => std::future::pending().await,
        };
        let Saving { service, admin, reply, .. } = self.saving.take().expect("it was awaited");
        Saved { service, admin, reply, result }
    }
}

impl Owner {
    /// Takes over what was kept from before the start.
    pub(super) fn load_wishes(&mut self, now: Instant) {
        let found = self.administrations.store.load(&Self::date(now));
        for trouble in found.troubles {
            self.links.log.write(Notice::new(Level::Error, trouble));
        }
        for (service, admin) in found.wishes {
            self.speaker.handle(Input::Wish(service, Keep::Persistent, Some(admin)), now);
        }
    }

    /// Does that with a service, as soon as what was asked for before is done.
    pub(super) fn administer(
        &mut self,
        service: ServiceName,
        administration: Administration,
        reply: Reply,
        now: Instant,
    ) {
        self.administrations.queue.push_back((service, administration, reply));
        self.advance_administrations(now);
    }

    /// What was written is in force.
    pub(super) fn finish_saving(&mut self, saved: Saved, now: Instant) {
        let Saved { service, admin, reply, result } = saved;
        let result = match result {
            Ok(()) => {
                self.speaker.handle(Input::Wish(service, Keep::Persistent, admin), now);
                Ok(())
            }
            Err(error) => {
                let directory = self.administrations.store.directory().display().to_string();
                let error = sys::describe(&error);
                let text = format!("cannot write to {directory}, nothing is changed: {error}");
                self.links.log.write(Notice::service(Level::Error, &service, &text));
                Err(Refusal::Failed(text))
            }
        };
        // Whoever asked may have gone.
        let _ = reply.send(result);
        self.advance_administrations(now);
    }

    fn advance_administrations(&mut self, now: Instant) {
        while self.administrations.saving.is_none() {
            let Some(next) = self.administrations.queue.pop_front() else { return };
            let (service, administration, reply) = next;
            match self.begin(&service, administration, now) {
                Ok(Some(admin)) => {
                    let (store, name, wish) =
                        (self.administrations.store.clone(), service.clone(), admin.clone());
                    let task = spawn_blocking(move || store.save(&name, wish.as_ref()));
                    self.administrations.saving = Some(Saving { task, service, admin, reply });
                }
                // Whoever asked may have gone.
                Ok(None) => drop(reply.send(Ok(()))),
                Err(refusal) => drop(reply.send(Err(refusal))),
            }
        }
    }

    /// Does what need not be kept; what has to be kept, if anything.
    #[expect(clippy::option_option, reason = "to keep that nothing is wanted is not nothing")]
    fn begin(
        &mut self,
        service: &ServiceName,
        administration: Administration,
        now: Instant,
    ) -> Result<Option<Option<Admin>>, Refusal> {
        let wishes = self.speaker.wishes(service);
        let services = &self.speaker.config().services;
        if !services.contains_key(service) && wishes.strongest().is_none() {
            return Err(Refusal::NoService(services.keys().cloned().collect()));
        }
        let (keep, admin) = match administration {
            Administration::Release => {
                self.speaker.handle(Input::Release(service.clone()), now);
                return Ok(None);
            }
            Administration::TakeOut(mode, keep, reason) => {
                (keep, Some(Admin { mode, reason, since: Self::date(now) }))
            }
            Administration::Undo(Mode::Down, keep) => (keep, None),
            Administration::Undo(Mode::Drain, keep) => {
                must_not_be_down(service, wishes.get(keep))?;
                (keep, None)
            }
        };
        if let Some(Admin { mode: Mode::Drain, .. }) = &admin {
            must_not_be_down(service, wishes.get(keep))?;
        }
        if admin.is_none() && wishes.get(keep).is_none() {
            return Ok(None);
        }
        if keep == Keep::Runtime {
            self.speaker.handle(Input::Wish(service.clone(), keep, admin), now);
            return Ok(None);
        }
        Ok(Some(admin))
    }
}

/// What was taken down by one command is not brought up by another that means less.
fn must_not_be_down(service: &ServiceName, admin: Option<&Admin>) -> Result<(), Refusal> {
    match admin {
        Some(Admin { mode: Mode::Down, .. }) => Err(Refusal::Failed(format!(
            "service {service} is admin down; undo that with: vipcast admin {service} up"
        ))),
        _ => Ok(()),
    }
}
