//! Metrics: [`Status`] and counters as OpenMetrics text, made anew for each scrape, so that a metric
//! cannot say anything else than the status does.
pub mod server;

#[cfg(test)]
mod tests;

use std::fmt;

use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::bfd::discard::Discard;
use crate::bfd::driver::Report;
use crate::bfd::session::Counters;
use crate::service::health::Verdict;
use crate::speaker::histogram::Histogram;
use crate::speaker::status::Status;

/// The text of one scrape.
///
/// # Errors
///
/// None is known: writing to a `String` does not fail.
pub fn render(status: Box<Status>, bfd: Report) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("vipcast");
    registry.register_collector(Box::new(Scrape { status, bfd }));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Scrape {
    status: Box<Status>,
    bfd: Report,
}

/// Its name, its help text, and which it is.
type BfdCounter = (&'static str, &'static str, fn(&Counters) -> u64);

/// Labels, in the order in which they are written.
type Labels<'a> = Vec<(&'static str, &'a str)>;

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        let version = vec![("version", self.status.version.as_str())];
        let mut metric =
            encoder.encode_descriptor("build", "The program", None, MetricType::Info)?;
        metric.encode_info(&version)?;
        let help = "Whether the last reload put the configuration into force";
        let name = "config_last_reload_successful";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        metric.encode_gauge(&i64::from(self.status.reload_error.is_none()))?;
        self.peers(encoder)?;
        self.services(encoder)?;
        self.vips(encoder)
    }
}

impl Scrape {
    fn peers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let peers =
            || self.status.peers.iter().map(|peer| (vec![("peer", peer.name.as_ref())], peer));
        let up = peers().map(|(labels, peer)| (labels, i64::from(peer.established)));
        gauges(encoder, "bgp_session_up", "Whether the BGP session is Established", up)?;
        let sent = peers().map(|(labels, peer)| (labels, peer.prefixes_announced as i64));
        gauges(encoder, "bgp_prefixes_sent", "Prefixes the peer has from us", sent)?;
        let sessions = peers().map(|(labels, peer)| (labels, peer.sessions));
        counters(encoder, "bgp_sessions", "Sessions that came up", sessions)?;
        let downs = self.status.peers.iter().flat_map(|peer| {
            let name = peer.name.as_ref();
            let kinds = peer.session_downs.iter();
            kinds.map(move |(kind, count)| (vec![("peer", name), ("reason", kind)], *count))
        });
        counters(encoder, "bgp_session_downs", "Sessions that ended", downs)?;
        let accepted =
            || peers().filter_map(|(labels, peer)| Some((labels, peer.accepted.as_ref()?)));
        let help = "Prefixes of the peer that accept let in";
        let count = accepted().map(|(labels, accepted)| (labels, accepted.prefixes as i64));
        gauges(encoder, "bgp_prefixes_accepted", help, count)?;
        let help = "Prefixes of the peer that are used and in the kernel";
        let count = accepted().map(|(labels, accepted)| (labels, accepted.installed as i64));
        gauges(encoder, "bgp_prefixes_installed", help, count)?;
        let received = peers().map(|(labels, peer)| (labels, peer.prefixes_received));
        let help = "Prefixes the peer announced, whether they were let in or not";
        counters(encoder, "bgp_prefixes_received", help, received)?;
        let defective = peers().map(|(labels, peer)| (labels, peer.defective_updates));
        let help = "UPDATEs with a defect that RFC 7606 lets pass";
        counters(encoder, "bgp_defective_updates", help, defective)?;
        let times = peers().map(|(labels, peer)| (labels, &peer.decision_to_wire));
        let help = "From the decision on a prefix to its octets in the peer's socket";
        histograms(encoder, "decision_to_wire", help, times)?;
        let bfd =
            peers().filter_map(|(labels, peer)| Some((labels, i64::from(peer.bfd.as_ref()?.up))));
        gauges(encoder, "bfd_session_up", "Whether the BFD session is Up", bfd)?;
        self.bfd(encoder)?;
        let discards = Discard::ALL.iter().map(|reason| {
            let count = self.bfd.discards.get(*reason);
            (vec![("reason", reason.label())], count)
        });
        counters(encoder, "bfd_discarded_packets", "BFD packets that were dropped", discards)
    }

    fn bfd(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let all: [BfdCounter; 4] = [
            ("bfd_packets_sent", "BFD packets that went out", |counters| counters.sent),
            ("bfd_packets_received", "BFD packets that were taken in", |counters| {
                counters.received
            }),
            ("bfd_session_ups", "How often the BFD session came up", |counters| counters.ups),
            ("bfd_session_downs", "How often the BFD session went down", |counters| counters.downs),
        ];
        for (name, help, value) in all {
            let sessions = self.bfd.sessions.iter();
            let values = sessions
                .map(|look| (vec![("peer", look.peer.as_ref())], value(&look.session.counters)));
            counters(encoder, name, help, values)?;
        }
        let echoes = || {
            let sessions = self.bfd.sessions.iter();
            sessions.filter_map(|look| {
                Some((vec![("peer", look.peer.as_ref())], look.session.echo.as_ref()?))
            })
        };
        let sent = echoes().map(|(labels, echo)| (labels, echo.sent));
        counters(encoder, "bfd_echo_packets_sent", "Echo packets that went out", sent)?;
        let returned = echoes().map(|(labels, echo)| (labels, echo.returned));
        counters(encoder, "bfd_echo_packets_returned", "Echo packets that came back", returned)
    }

    fn services(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let services = self.status.services.iter();
        let up = services.clone().map(|service| {
            (vec![("service", service.name.as_ref())], i64::from(service.state == Verdict::Up))
        });
        gauges(encoder, "service_up", "Whether the service is up", up)?;
        let held_back = services.clone().filter_map(|service| {
            let by = service.obstacle.as_ref()?.kind.as_ref();
            Some((vec![("service", service.name.as_ref()), ("by", by)], 1))
        });
        let help = "What else than health keeps the service from being announced";
        gauges(encoder, "service_held_back", help, held_back)?;
        let checks = || {
            services.clone().flat_map(|service| {
                service.checks.iter().map(|check| {
                    let service = ("service", service.name.as_ref());
                    (vec![service, ("check", check.name.as_ref())], check)
                })
            })
        };
        let up = checks().map(|(labels, check)| (labels, i64::from(check.state == Verdict::Up)));
        gauges(encoder, "check_up", "Whether the check is up", up)?;
        let restarts = checks().map(|(labels, check)| (labels, check.restarts));
        let help = "How often the check was started anew because nothing was heard of it";
        counters(encoder, "check_restarts", help, restarts)?;
        let durations = checks().map(|(labels, check)| (labels, &check.durations));
        histograms(encoder, "check_duration", "How long probes took", durations)?;
        let help = "When the last probe of the check ended";
        let unit = Some(&Unit::Seconds);
        let name = "check_last_completion_timestamp";
        let mut metric = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for (labels, check) in checks() {
            let at = check.last.as_ref().and_then(|last| last.at.parse::<Timestamp>().ok());
            let Some(at) = at else { continue };
            metric.encode_family(&labels)?.encode_gauge(&at.as_duration().as_secs_f64())?;
        }
        Ok(())
    }

    fn vips(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Whether the peer has been sent a route to the VIP and not had it withdrawn";
        let mut metric =
            encoder.encode_descriptor("vip_announced", help, None, MetricType::Gauge)?;
        for service in &self.status.services {
            for vip in &service.vips {
                let address = vip.address.to_string();
                for peer in &self.status.peers {
                    let sent = vip.peers.iter().find(|has| has.peer == peer.name);
                    let announced = sent.is_some_and(|has| !has.prefixes.is_empty());
                    let labels: Labels<'_> = vec![
                        ("service", service.name.as_ref()),
                        ("vip", &address),
                        ("peer", peer.name.as_ref()),
                    ];
                    metric.encode_family(&labels)?.encode_gauge(&i64::from(announced))?;
                }
            }
        }
        Ok(())
    }
}

fn gauges<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (Labels<'a>, i64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in values {
        metric.encode_family(&labels)?.encode_gauge(&value)?;
    }
    Ok(())
}

fn counters<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (Labels<'a>, u64)>,
) -> fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in values {
        let mut one: MetricEncoder<'_> = metric.encode_family(&labels)?;
        one.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
    }
    Ok(())
}

fn histograms<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl Iterator<Item = (Labels<'a>, &'a Histogram)>,
) -> fmt::Result {
    let unit = Some(&Unit::Seconds);
    let mut metric = encoder.encode_descriptor(name, help, unit, MetricType::Histogram)?;
    for (labels, histogram) in values {
        let (sum, count) = histogram.total();
        let buckets: Vec<_> = histogram.buckets().collect();
        let mut one = metric.encode_family(&labels)?;
        one.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
    }
    Ok(())
}
