//! `vipcast`: talks to the daemon.
mod check;
mod operation;

use std::io::{ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use vipcast::control::{client, render};
use vipcast::daemon;
use vipcast::route::ServiceName;

use operation::{Operation, short};

/// Talks to vipcastd.
#[derive(Debug, Parser)]
#[command(version, after_help = "See vipcast(1).")]
struct Arguments {
    /// Where vipcastd keeps its socket
    #[arg(long, value_name = "DIRECTORY", global = true)]
    runtime_directory: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show peers, services and VIPs, and why what is not announced is not
    Status {
        /// As one JSON document
        #[arg(long)]
        json: bool,

        /// Only these services
        #[arg(value_name = "SERVICE")]
        services: Vec<String>,
    },
    /// Show the routes that each peer has been sent, and why what it should have is not among them
    Routes {
        /// Only this peer
        #[arg(long, value_name = "NAME")]
        peer: Option<String>,

        /// As one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Show the BFD session of each peer: what either end says, what is measured, what is wrong
    Bfd {
        /// Only this peer
        #[arg(value_name = "PEER")]
        peer: Option<String>,

        /// As one JSON document
        #[arg(long)]
        json: bool,
    },
    /// Probe services now, by the daemon if it runs; show how long that took and why it failed
    Check(check::Arguments),
    #[command(flatten)]
    Operation(Operation),
    /// End the session with a peer and begin another, whatever it has refused before
    Reset {
        /// The peer
        peer: String,

        /// What the peer's operators are told
        #[arg(long, value_name = "TEXT", default_value = "", value_parser = communication)]
        reason: String,
    },
    /// Let vipcastd read its configuration again, and wait until it is in force
    Reload,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let directory = arguments.runtime_directory.unwrap_or_else(daemon::runtime_directory);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(&directory, arguments.command)),
        Err(error) => Err(error.to_string()),
    };
    match result.and_then(|text| print(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            if !text.is_empty() {
                let _ = writeln!(std::io::stderr(), "{text}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Nobody may be reading; but what somebody wants to keep must be complete.
fn print(text: &str) -> Result<(), String> {
    let mut stdout = std::io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(format!("cannot write: {}", error.kind()))
        }
        _ => Ok(()),
    }
}

/// Carries out a command; what it prints.
async fn run(directory: &Path, command: Command) -> Result<String, String> {
    match command {
        Command::Reload => {
            client::reload(directory).await.map_err(|error| error.to_string())?;
            Ok(String::new())
        }
        Command::Operation(operation) => operation.run(directory).await,
        Command::Check(arguments) => {
            let (text, is_good) = arguments.run(directory, style()).await?;
            if is_good {
                return Ok(text);
            }
            print(&text)?;
            Err(String::new()) // all is said
        }
        Command::Reset { peer, reason } => {
            let reset = client::reset(directory, &peer.into(), &reason).await;
            reset.map_err(|error| error.to_string())?;
            Ok(String::new())
        }
        Command::Status { json, services } => {
            let described = client::describe(directory).await;
            let (document, status) = described.map_err(|error| error.to_string())?;
            let only: Vec<ServiceName> = services.into_iter().map(Into::into).collect();
            for name in &only {
                if !status.services.iter().any(|service| service.name == *name) {
                    let known: Vec<_> = status.services.iter().map(|s| s.name.as_ref()).collect();
                    return Err(format!("no service {name}; there are: {}", known.join(", ")));
                }
            }
            if json {
                return Ok(format!("{document}\n"));
            }
            Ok(render::status(&status, &only, style()))
        }
        Command::Bfd { peer, json } => {
            let bfd = client::bfd(directory, peer.map(Into::into)).await;
            let bfd = bfd.map_err(|error| error.to_string())?;
            if json {
                let document = serde_json::to_string(&bfd).map_err(|error| error.to_string())?;
                return Ok(format!("{document}\n"));
            }
            Ok(render::bfd(&bfd, style()))
        }
        Command::Routes { peer, json } => {
            let routes = client::routes(directory, peer.map(Into::into)).await;
            let routes = routes.map_err(|error| error.to_string())?;
            if json {
                let document = serde_json::to_string(&routes).map_err(|error| error.to_string())?;
                return Ok(format!("{document}\n"));
            }
            Ok(render::routes(&routes, style()))
        }
    }
}

/// A shutdown communication (RFC 9003 §2).
fn communication(text: &str) -> Result<String, String> {
    short(text, 255, "sent")
}

/// Colours are for terminals.
fn style() -> render::Style {
    render::Style { colour: std::io::stdout().is_terminal() && no_color_is_unset() }
}

/// Whether the user has not asked for plain text (no-color.org).
fn no_color_is_unset() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
