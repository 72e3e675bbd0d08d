//! Why a session ended or did not come up: one type for log, `vipcast status`, metrics and, where
//! it goes to the peer, the NOTIFICATION.
use std::io;
use std::time::Duration;

use super::wire::Notification;

/// Why there is no session.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DownReason {
    /// It is not known where to connect to
    #[error("{0}")]
    NoPath(String),
    /// No TCP connection came about
    #[error("{0}")]
    ConnectFailed(ConnectError),
    /// The peer closed the connection without a NOTIFICATION
    #[error("closed by the peer{}", if *.before_open {
        " before its OPEN: it has no neighbor configured for our address, or refuses it"
    } else {
        " without a NOTIFICATION"
    })]
    ClosedByPeer {
        /// It had not sent its OPEN
        before_open: bool,
    },
    /// The connection broke
    #[error("connection lost: {0}")]
    ConnectionLost(String),
    /// The peer said why
    #[error("received {0}")]
    NotificationReceived(Notification),
    /// We found fault with what the peer sent
    #[error("{detail}; sent {notification}")]
    ProtocolError {
        /// What was wrong, in words
        detail: String,
        /// What the peer was told
        notification: Notification,
    },
    /// The peer broke its NOTIFICATION, which nothing answers (RFC 4271 §6.4)
    #[error("received a malformed NOTIFICATION")]
    MalformedNotification,
    /// Nothing was heard for this long
    #[error("hold timer expired: nothing heard for {0:?}")]
    HoldTimerExpired(Duration),
    /// The peer took nothing of what it was sent (RFC 9687)
    #[error(
        "send hold timer expired: the router does not read, it has taken nothing for \
             {limit:?} while {waiting} octets wait for it"
    )]
    SendHoldTimerExpired {
        /// For how long
        limit: Duration,
        /// What it was to take
        waiting: u64,
    },
    /// Nothing reaches our end of the session any more
    #[error("{0}")]
    CutOff(String),
    /// BFD says that the path is dead (RFC 5882 §4, RFC 9384)
    #[error("BFD session down: {0}")]
    BfdDown(String),
    /// The session was held back until BFD is up, and BFD did not come up
    #[error("BFD has not come up within {0:?}, and `strict` asks for it first")]
    BfdNotUp(Duration),
    /// More prefixes were announced than we take in (RFC 4271 §6.7)
    #[error(
        "the peer announces more than {0} of the prefixes that `accept` lets in \
             (accept-max-prefixes)"
    )]
    TooManyPrefixes(usize),
    /// We stop
    #[error("shut down: {0}")]
    Shutdown(String),
    /// An operator of ours wants a new session; why, if they said so
    #[error("reset by an operator{}{}", if .0.is_empty() { "" } else { ": " }, .0)]
    AdministrativeReset(String),
    /// We stop, and are back in a moment
    #[error("restarting")]
    Restarting,
    /// The configuration of the peer changed in a way that needs a new session
    #[error("configuration changed")]
    ConfigurationChanged,
    /// What signs its segments is something else now
    #[error("configuration changed: another TCP MD5 password or TCP-AO key")]
    KeysChanged,
    /// The peer is no longer configured
    #[error("no longer configured")]
    Deconfigured,
    /// The other of two connections was kept (RFC 4271 §6.8)
    #[error("the other of two connections to this peer was kept")]
    CollisionLost,
}

/// What kept a TCP connection from coming about.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text}")]
pub struct ConnectError {
    /// The class of error
    pub kind: io::ErrorKind,
    /// In words, with what to look at
    pub text: String,
}

impl DownReason {
    /// A short fixed word for metrics.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match self {
            Self::NoPath(_) => "no-path",
            Self::ConnectFailed(_) => "connect-failed",
            Self::ClosedByPeer { .. } => "closed-by-peer",
            Self::ConnectionLost(_) => "connection-lost",
            Self::NotificationReceived(_) => "notification-received",
            Self::ProtocolError { .. } | Self::MalformedNotification => "protocol-error",
            Self::HoldTimerExpired(_) => "hold-timer-expired",
            Self::SendHoldTimerExpired { .. } => "send-hold-timer-expired",
            Self::CutOff(_) => "cut-off",
            Self::BfdDown(_) => "bfd-down",
            Self::BfdNotUp(_) => "bfd-not-up",
            Self::TooManyPrefixes(_) => "max-prefixes",
            Self::Shutdown(_) => "shutdown",
            Self::AdministrativeReset(_) => "administrative-reset",
            Self::Restarting => "restarting",
            Self::ConfigurationChanged | Self::KeysChanged => "configuration-changed",
            Self::Deconfigured => "deconfigured",
            Self::CollisionLost => "collision-lost",
        }
    }

    /// What the peer is told when we end the session for this reason.
    #[must_use]
    pub fn notification(&self) -> Option<Notification> {
        match self {
            Self::ProtocolError { notification, .. } => Some(notification.clone()),
            Self::HoldTimerExpired(_) => {
                Some(Notification::new(Notification::HOLD_TIMER_EXPIRED, 0, Vec::new()))
            }
            Self::SendHoldTimerExpired { .. } => {
                Some(Notification::new(Notification::SEND_HOLD_TIMER_EXPIRED, 0, Vec::new()))
            }
            // draft-ietf-idr-bgp-bfd-strict-mode-19 §9
            Self::BfdDown(_) | Self::BfdNotUp(_) => Some(Notification::cease(10)),
            Self::TooManyPrefixes(_) => Some(Notification::cease(1)), // RFC 4486 §4
            Self::Shutdown(text) => Some(Notification::administrative_shutdown(text)),
            Self::AdministrativeReset(text) => Some(Notification::administrative_reset(text)),
            Self::Deconfigured => Some(Notification::cease(3)),
            Self::ConfigurationChanged | Self::KeysChanged => Some(Notification::cease(6)),
            Self::CollisionLost => Some(Notification::cease(7)),
            Self::NoPath(_)
            | Self::CutOff(_)
            | Self::ConnectFailed(_)
            | Self::ClosedByPeer { .. }
            | Self::ConnectionLost(_)
            | Self::NotificationReceived(_)
            | Self::MalformedNotification
            | Self::Restarting => None,
        }
    }

    /// Whether the peer knows no optional parameters of an OPEN (RFC 5492 §3).
    #[must_use]
    pub fn refuses_capabilities(&self) -> bool {
        matches!(
            self,
            Self::NotificationReceived(Notification {
                code: Notification::OPEN_ERROR,
                subcode: Notification::UNSUPPORTED_OPTIONAL_PARAMETER,
                ..
            })
        )
    }

    /// Whether the peer is to forget our routes at once: nobody will be there to serve them, or the
    /// way to us is gone. For any other reason we are back in a moment.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Shutdown(_) | Self::Deconfigured | Self::BfdDown(_))
    }

    /// Whether the peer may be restarting, so that its routes are kept if it asked for that: TCP ended
    /// (RFC 4724 §4.2), or where both ends keep routes over NOTIFICATIONs, it sent one or fell
    /// silent (RFC 8538 §4).
    #[must_use]
    pub fn may_be_restart(&self, over_notifications: bool) -> bool {
        match self {
            Self::ClosedByPeer { .. } | Self::ConnectionLost(_) => true,
            Self::NotificationReceived(notification) => {
                over_notifications && !notification.is_hard_reset()
            }
            Self::HoldTimerExpired(_) => over_notifications,
            Self::NoPath(_)
            | Self::CutOff(_)
            | Self::ConnectFailed(_)
            | Self::ProtocolError { .. }
            | Self::MalformedNotification
            | Self::SendHoldTimerExpired { .. }
            | Self::BfdDown(_)
            | Self::BfdNotUp(_)
            | Self::TooManyPrefixes(_)
            | Self::Shutdown(_)
            | Self::AdministrativeReset(_)
            | Self::Restarting
            | Self::ConfigurationChanged
            | Self::KeysChanged
            | Self::Deconfigured
            | Self::CollisionLost => false,
        }
    }

    /// Whether either end said why by NOTIFICATION.
    #[must_use]
    pub fn has_notification(&self) -> bool {
        matches!(self, Self::NotificationReceived(_)) || self.notification().is_some()
    }

    /// Whether somebody on this host meant it to happen.
    #[must_use]
    pub fn is_planned(&self) -> bool {
        matches!(
            self,
            Self::Shutdown(_)
                | Self::AdministrativeReset(_)
                | Self::Restarting
                | Self::ConfigurationChanged
                | Self::KeysChanged
                | Self::Deconfigured
        )
    }

    /// Whether the peer, or we, found fault: asking again at once would only repeat it.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            // RFC 9384: that is over when BFD is up again, and then asking is right.
            Self::NotificationReceived(notification) => !notification.is_bfd_down(),
            Self::ProtocolError { .. }
            | Self::MalformedNotification
            | Self::TooManyPrefixes(_)
            | Self::ClosedByPeer { .. } => true,
            Self::NoPath(_)
            | Self::CutOff(_)
            | Self::ConnectFailed(_)
            | Self::ConnectionLost(_)
            | Self::HoldTimerExpired(_)
            | Self::SendHoldTimerExpired { .. }
            | Self::BfdDown(_)
            | Self::BfdNotUp(_)
            | Self::Shutdown(_)
            | Self::AdministrativeReset(_)
            | Self::Restarting
            | Self::ConfigurationChanged
            | Self::KeysChanged
            | Self::Deconfigured
            | Self::CollisionLost => false,
        }
    }
}
