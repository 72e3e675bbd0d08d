//! Talks to systemd over the system bus.
//!
//! Answers and signals are taken in from one stream, in the order in which systemd sent them: what is
//! read is never older than what was told before it.
#![expect(clippy::disallowed_methods, reason = "driver: clock, timers and a socket")]

use std::collections::{BTreeSet, HashMap, HashSet};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::{sleep_until, timeout};
use zbus::connection::Builder;
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream, OwnedObjectPath, OwnedVariant};

use super::watch::{Properties, Reply, Request, Signal, Watch};
use super::{Event, UnitName};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const MANAGER_OBJECT: &str = "/org/freedesktop/systemd1";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const JOB: &str = "org.freedesktop.systemd1.Job";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const BUS: &str = "org.freedesktop.DBus";
const BUS_OBJECT: &str = "/org/freedesktop/DBus";
/// What is listened to in any case.
const MATCHES: [&str; 2] = [
    "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',\
     member='Reloading'",
    "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',\
     member='NameOwnerChanged',arg0='org.freedesktop.systemd1'",
];
/// The bus answers at once, or it is as good as not there.
const PATIENCE: Duration = Duration::from_secs(2);

/// Watches the units that were asked for last, and tells what becomes of them, until whoever asks is
/// gone. There is a connection to the bus only as long as any is watched.
pub async fn run(
    mut wanted: mpsc::UnboundedReceiver<BTreeSet<UnitName>>,
    events: mpsc::Sender<Event>,
) {
    let mut watch = Watch::new();
    let mut bus: Option<Bus> = None;
    loop {
        while let Some(request) = watch.poll_request() {
            if let Err(error) = carry_out(request, &mut watch, &mut bus).await {
                bus = None;
                watch.handle_lost(&error.to_string(), Instant::now());
            }
        }
        while let Some(event) = watch.poll_event() {
            if events.send(event).await.is_err() {
                return;
            }
        }
        let deadline = watch.poll_timeout();
        let time = async {
            match deadline {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        let message = async {
            match &mut bus {
                Some(bus) => bus.messages.next().await,
                None => std::future::pending().await,
            }
        };
        // All can be dropped half-way without losing anything.
        tokio::select! {
            units = wanted.recv() => match units {
                Some(units) => watch.set_wanted(&units, Instant::now()),
                None => return,
            },
            message = message => match message {
                Some(Ok(message)) => {
                    if let Some(bus) = &mut bus {
                        bus.hand_over(&message, &mut watch);
                    }
                }
                Some(Err(error)) => lose(&mut bus, &mut watch, &error.to_string()),
                None => lose(&mut bus, &mut watch, "the bus closed the connection"),
            },
            () = time => watch.handle_timeout(Instant::now()),
        }
    }
}

fn lose(bus: &mut Option<Bus>, watch: &mut Watch, why: &str) {
    *bus = None;
    watch.handle_lost(why, Instant::now());
}

async fn carry_out(request: Request, watch: &mut Watch, bus: &mut Option<Bus>) -> zbus::Result<()> {
    match (request, &mut *bus) {
        (Request::Connect, _) => {
            *bus = Some(Bus::connect().await?);
            watch.handle_connected();
        }
        (Request::Disconnect, _) => *bus = None,
        (request, Some(bus)) => bus.send(request).await?,
        // What was meant for the connection before has no use any more.
        (_, None) => {}
    }
    Ok(())
}

/// A connection to the bus.
struct Bus {
    connection: Connection,
    messages: MessageStream,
    /// What was asked and is not answered yet
    pending: HashMap<NonZeroU32, Request>,
    /// Objects that are listened to
    listened: HashSet<String>,
    /// systemd's own name there, once it has answered: anybody on the bus can send us signals
    systemd: Option<String>,
}

impl Bus {
    async fn connect() -> zbus::Result<Self> {
        let connected = timeout(PATIENCE, Builder::system().build()).await;
        let connection = connected.unwrap_or_else(|_| {
            let error =
                std::io::Error::new(std::io::ErrorKind::TimedOut, "the bus does not answer");
            Err(error.into())
        })?;
        let messages = MessageStream::from(&connection);
        let (pending, listened) = (HashMap::new(), HashSet::new());
        let mut bus = Self { connection, messages, pending, listened, systemd: None };
        for rule in MATCHES {
            bus.set_match("AddMatch", rule, SYSTEMD).await?;
        }
        Ok(bus)
    }

    async fn send(&mut self, request: Request) -> zbus::Result<()> {
        let manager = |member| Message::method_call(MANAGER_OBJECT, member);
        let message = match &request {
            Request::Listen(object) => {
                if self.listened.insert(object.clone()) {
                    self.set_matches("AddMatch", object).await?;
                }
                return Ok(());
            }
            Request::Ignore(object) => {
                if self.listened.remove(object) {
                    self.set_matches("RemoveMatch", object).await?;
                }
                return Ok(());
            }
            Request::Subscribe => {
                manager("Subscribe").destination(SYSTEMD).interface(MANAGER).build(&())?
            }
            Request::Load(name) | Request::Find(name) => {
                let member =
                    if matches!(request, Request::Load(_)) { "LoadUnit" } else { "GetUnit" };
                let call = manager(member).destination(SYSTEMD).interface(MANAGER);
                call.build(&name.as_ref())?
            }
            Request::Read(_, object) => {
                let call = Message::method_call(object.as_str(), "GetAll");
                call.destination(SYSTEMD).interface(PROPERTIES).build(&UNIT)?
            }
            Request::ReadResult(name, object) => {
                let interface = interface_of(name);
                property(object, &interface, "Result")?
            }
            Request::ReadJob(_, object) => property(object, JOB, "JobType")?,
            Request::Connect | Request::Disconnect => return Ok(()),
        };
        self.pending.insert(message.primary_header().serial_num(), request);
        self.connection.send(&message).await
    }

    /// Listens to what is told of a unit, or no longer.
    async fn set_matches(&mut self, member: &str, object: &str) -> zbus::Result<()> {
        let from_systemd = format!("type='signal',sender='{SYSTEMD}'");
        let changes = format!(
            "{from_systemd},interface='{PROPERTIES}',member='PropertiesChanged',path='{object}'"
        );
        self.set_match(member, &changes, object).await?;
        for news in ["UnitNew", "UnitRemoved"] {
            let rule =
                format!("{from_systemd},interface='{MANAGER}',member='{news}',arg1path='{object}'");
            self.set_match(member, &rule, object).await?;
        }
        Ok(())
    }

    async fn set_match(&mut self, member: &str, rule: &str, object: &str) -> zbus::Result<()> {
        let call = Message::method_call(BUS_OBJECT, member).destination(BUS).interface(BUS);
        let message = call.build(&rule)?;
        // The bus has a limit to them, and without one we would miss what happens.
        if member == "AddMatch" {
            let request = Request::Listen(object.to_owned());
            self.pending.insert(message.primary_header().serial_num(), request);
        }
        self.connection.send(&message).await
    }

    /// Hands over what came, if it is for us.
    fn hand_over(&mut self, message: &Message, watch: &mut Watch) {
        let now = Instant::now();
        let header = message.header();
        let sender = header.sender().map(ToString::to_string);
        match message.message_type() {
            Type::MethodReturn | Type::Error => {
                let serial = header.reply_serial();
                let Some(request) = serial.and_then(|serial| self.pending.remove(&serial)) else {
                    return;
                };
                if message.message_type() == Type::MethodReturn && sender.as_deref() != Some(BUS) {
                    self.systemd.clone_from(&sender);
                }
                let reply = match message.message_type() {
                    Type::Error => Err(message.body().deserialize().unwrap_or_default()),
                    Type::MethodReturn | Type::MethodCall | Type::Signal => {
                        reply(&request, message).map_err(|error| error.to_string())
                    }
                };
                watch.handle_reply(request, reply, now);
            }
            Type::Signal => {
                let is_systemd = sender.is_some() && sender == self.systemd;
                let is_bus = sender.as_deref() == Some(BUS);
                // What cannot be understood is not what is meant.
                if let Ok(Some(signal)) = signal(message)
                    && if matches!(signal, Signal::OnBus(_)) { is_bus } else { is_systemd }
                {
                    watch.handle_signal(signal, now);
                }
            }
            Type::MethodCall => {}
        }
    }
}

fn property(object: &str, interface: &str, name: &str) -> zbus::Result<Message> {
    let call = Message::method_call(object, "Get");
    call.destination(SYSTEMD).interface(PROPERTIES).build(&(interface, name))
}

/// The interface for units of this type: org.freedesktop.systemd1.Service.
fn interface_of(unit: &UnitName) -> String {
    let kind = unit.as_ref().rsplit('.').next().unwrap_or_default();
    let (first, rest) = kind.split_at(kind.len().min(1));
    format!("{SYSTEMD}.{}{rest}", first.to_ascii_uppercase())
}

fn reply(request: &Request, message: &Message) -> zbus::Result<Reply> {
    let body = message.body();
    Ok(match request {
        Request::Load(_) | Request::Find(_) => {
            Reply::Object(body.deserialize::<OwnedObjectPath>()?.to_string())
        }
        Request::Read(..) => Reply::Properties(properties(&body.deserialize()?)),
        Request::ReadResult(..) | Request::ReadJob(..) => {
            let value: OwnedVariant = body.deserialize()?;
            Reply::Word(value.try_into()?)
        }
        Request::Connect
        | Request::Disconnect
        | Request::Subscribe
        | Request::Listen(_)
        | Request::Ignore(_) => Reply::Done,
    })
}

fn signal(message: &Message) -> zbus::Result<Option<Signal>> {
    let (header, body) = (message.header(), message.body());
    let member = header.member().map(|member| member.as_str().to_owned()).unwrap_or_default();
    Ok(match member.as_str() {
        "PropertiesChanged" => {
            let object = header.path().map(ToString::to_string).unwrap_or_default();
            let (interface, changed, _): (String, HashMap<String, OwnedVariant>, Vec<String>) =
                body.deserialize()?;
            let is_of_unit = interface.starts_with(SYSTEMD);
            is_of_unit.then(|| Signal::Changed(object, properties(&changed)))
        }
        "UnitNew" | "UnitRemoved" => {
            let (_, object): (String, OwnedObjectPath) = body.deserialize()?;
            let is_new = member == "UnitNew";
            let object = object.to_string();
            Some(if is_new { Signal::New(object) } else { Signal::Removed(object) })
        }
        "Reloading" => Some(Signal::Reloading(body.deserialize()?)),
        "NameOwnerChanged" => {
            let (name, _, owner): (String, String, String) = body.deserialize()?;
            (name == SYSTEMD).then_some(Signal::OnBus(!owner.is_empty()))
        }
        _ => None,
    })
}

fn properties(all: &HashMap<String, OwnedVariant>) -> Properties {
    let text = |name: &str| {
        let word = all.get(name).and_then(|value| <&str>::try_from(value).ok());
        word.map(str::to_owned)
    };
    Properties {
        load_state: text("LoadState"),
        active_state: text("ActiveState"),
        result: text("Result"),
        activation: all
            .get("ActiveEnterTimestampMonotonic")
            .and_then(|value| u64::try_from(value).ok()),
        job: all.get("Job").and_then(|value| {
            let value = value.try_clone().ok()?;
            let (number, object): (u32, OwnedObjectPath) = value.try_into().ok()?;
            Some((number != 0).then(|| object.to_string()))
        }),
    }
}
