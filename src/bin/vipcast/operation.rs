//! What operators do with services.
use std::io::Write;
use std::path::Path;

use clap::{Subcommand, ValueEnum};
use vipcast::control::client::Goal;
use vipcast::control::{Administration, client};
use vipcast::route::ServiceName;
use vipcast::service::admin::{Keep, Mode};

#[derive(Debug, Subcommand)]
pub(crate) enum Operation {
    /// Withdraw services, and serve them here for as long as packets may come; kept over restarts
    /// and reboots until undone
    Drain {
        /// The services
        #[arg(value_name = "SERVICE", required_unless_present = "all")]
        services: Vec<String>,

        /// All services of this host
        #[arg(long, conflicts_with = "services")]
        all: bool,

        /// Why, for whoever asks later
        #[arg(long, value_name = "TEXT", value_parser = line)]
        reason: Option<String>,

        /// Come back when no router has them any more, and no packets are expected
        #[arg(long)]
        wait: bool,

        /// Forget it when vipcastd ends
        #[arg(long)]
        runtime: bool,
    },
    /// Undo a drain: health decides again
    Undrain {
        /// The services
        #[arg(value_name = "SERVICE", required_unless_present = "all")]
        services: Vec<String>,

        /// All services of this host
        #[arg(long, conflicts_with = "services")]
        all: bool,

        /// Come back when they are announced
        #[arg(long)]
        wait: bool,

        /// Undo a drain that was begun with --runtime, and no other
        #[arg(long)]
        runtime: bool,
    },
    /// Take a service down at once, whatever its health, until it is taken up again
    Admin {
        /// The service
        service: String,

        /// Take it down, or leave it to its health again
        #[arg(value_enum, default_value = "down")]
        state: AdminState,

        /// Why, for whoever asks later
        #[arg(long, value_name = "TEXT", value_parser = line)]
        reason: Option<String>,

        /// Come back when no router has it any more, or when it is announced
        #[arg(long)]
        wait: bool,
    },
    /// Announce a service that is held down because it went down too often
    Release {
        /// The service
        service: String,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum AdminState {
    Down,
    Up,
}

impl Operation {
    /// Carries it out; what it prints.
    pub(crate) async fn run(self, directory: &Path) -> Result<String, String> {
        match self {
            Self::Drain { services, all, reason, wait, runtime } => {
                let services = named(directory, services, all).await?;
                let wish = Administration::TakeOut(Mode::Drain, keep(runtime), reason);
                administer(directory, &services, &wish, wait.then_some(Goal::Withdrawn)).await
            }
            Self::Undrain { services, all, wait, runtime } => {
                let services = named(directory, services, all).await?;
                let wish = Administration::Undo(Mode::Drain, keep(runtime));
                administer(directory, &services, &wish, wait.then_some(Goal::Announced)).await
            }
            Self::Admin { service, state, reason, wait } => {
                let (wish, goal) = match state {
                    AdminState::Down => {
                        let wish = Administration::TakeOut(Mode::Down, Keep::Persistent, reason);
                        (wish, Goal::Withdrawn)
                    }
                    AdminState::Up => {
                        (Administration::Undo(Mode::Down, Keep::Persistent), Goal::Announced)
                    }
                };
                administer(directory, &[service.into()], &wish, wait.then_some(goal)).await
            }
            Self::Release { service } => {
                administer(directory, &[service.into()], &Administration::Release, None).await
            }
        }
    }
}

/// The services that were named, or all that there are.
async fn named(
    directory: &Path,
    services: Vec<String>,
    all: bool,
) -> Result<Vec<ServiceName>, String> {
    if !all {
        return Ok(services.into_iter().map(Into::into).collect());
    }
    let (_, status) = client::describe(directory).await.map_err(|error| error.to_string())?;
    Ok(status.services.into_iter().map(|service| service.name).collect())
}

/// Does that with every service, then waits for each.
async fn administer(
    directory: &Path,
    services: &[ServiceName],
    wish: &Administration,
    goal: Option<Goal>,
) -> Result<String, String> {
    for service in services {
        let done = client::administer(directory, service, wish).await;
        done.map_err(|error| error.to_string())?;
    }
    let Some(goal) = goal else { return Ok(String::new()) };
    for service in services {
        let tell = |missing: &str| {
            // Nobody may be reading.
            let _ = writeln!(std::io::stderr(), "waiting for {service}: {missing}");
        };
        let waited = client::wait(directory, service, goal, tell).await;
        waited.map_err(|error| error.to_string())?;
    }
    Ok(String::new())
}

fn keep(runtime: bool) -> Keep {
    if runtime { Keep::Runtime } else { Keep::Persistent }
}

/// What fits into a line of a log.
fn line(text: &str) -> Result<String, String> {
    short(text, 200, "kept")
}

/// Text of so many octets, on one line.
pub(crate) fn short(text: &str, most: usize, done: &str) -> Result<String, String> {
    if text.len() > most {
        return Err(format!("{} octets are too many, at most {most} are {done}", text.len()));
    }
    if text.contains(char::is_control) {
        return Err("it must not have control characters in it".into());
    }
    Ok(text.into())
}
