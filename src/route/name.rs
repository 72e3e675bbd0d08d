//! The names by which the operator knows things, as the configuration spells them.
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        #[serde(from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().into()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name! {
    /// `[peer.NAME]`
    PeerName
}
name! {
    /// `[pool.NAME]`
    PoolName
}
name! {
    /// `[advertisement.NAME]`
    AdvertisementName
}
name! {
    /// `[service.NAME]`
    ServiceName
}
name! {
    /// `[service.NAME.check.NAME]`
    CheckName
}
name! {
    /// `[service.NAME.group.NAME]`
    GroupName
}
