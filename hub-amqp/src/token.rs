//! The tokens of a connection: what its peer may do, and until when.
//!
//! A peer puts a token for each thing that it is going to do, and puts a newer one in its place
//! before it ends. What a token is for is in the token; the name under which it is put says the
//! same and is not believed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hub_core::security::{Principal, Right};
use hub_core::{Address, Timestamp};

use crate::address::owners;
use crate::problem::{AmqpError, condition};

/// Whose token it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Holder {
    /// A back end's, or a gateway's: signed with the key of a policy.
    Policy(Principal),
    /// A device's or module's own, and when it ends.
    Identity(Address, Timestamp),
}

impl Holder {
    fn expires(&self) -> Timestamp {
        match self {
            Self::Policy(principal) => principal.expires(),
            Self::Identity(_, expires) => *expires,
        }
    }
}

/// A token that was proved.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    text: Arc<str>,
    holder: Holder,
}

/// Never prints a secret (T7).
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token").field("holder", &self.holder).finish_non_exhaustive()
    }
}

/// What a token is for, as it stands in it; empty if it is no token.
fn resource(text: &str) -> &str {
    let fields = text.trim().split_once(' ').map_or("", |(_, fields)| fields);
    let found = fields.split('&').find_map(|field| {
        let (name, value) = field.split_once('=')?;
        name.trim().eq_ignore_ascii_case("sr").then_some(value)
    });
    found.unwrap_or("")
}

/// Whom a token may belong to, if it is a device's or module's own: the likelier first.
#[must_use]
pub fn candidates(text: &str) -> Vec<Address> {
    owners(resource(text))
}

impl Token {
    /// A token, and whose it was proved to be.
    #[must_use]
    pub fn new(text: Arc<str>, holder: Holder) -> Self {
        Self { text, holder }
    }

    /// Whose it is.
    #[must_use]
    pub fn holder(&self) -> &Holder {
        &self.holder
    }
}

/// The tokens of one connection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tokens(Vec<Token>);

impl Tokens {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a token, in the place of an earlier one for the same.
    ///
    /// # Errors
    /// `amqp:resource-limit-exceeded` when there are `max` others.
    pub fn put(&mut self, token: Token, max: usize) -> Result<(), AmqpError> {
        // One identity has several spellings of its resource.
        let same = |held: &&mut Token| match (&held.holder, &token.holder) {
            (Holder::Identity(held, _), Holder::Identity(new, _)) => held == new,
            _ => resource(&held.text) == resource(&token.text),
        };
        let count = self.0.len();
        match self.0.iter_mut().find(same) {
            Some(held) => *held = token,
            None if count < max => self.0.push(token),
            None => {
                let why = "the connection has too many tokens";
                return Err(AmqpError::new(condition::RESOURCE_LIMIT, why));
            }
        }
        Ok(())
    }

    /// Who may exercise a right of back ends on a path of the hub.
    #[must_use]
    pub fn service(&self, right: Right, path: &str) -> Option<&Principal> {
        self.0.iter().find_map(|token| match &token.holder {
            Holder::Policy(principal) if principal.may(right, path) => Some(principal),
            _ => None,
        })
    }

    /// The token with which a device or module may connect: its own, or one of a policy that may
    /// be any device.
    #[must_use]
    pub fn device(&self, address: &Address) -> Option<Arc<str>> {
        let path = match address.module_str() {
            Some(module) => format!("devices/{}/modules/{module}", address.device_str()),
            None => format!("devices/{}", address.device_str()),
        };
        let own = |token: &&Token| match &token.holder {
            Holder::Identity(owner, _) => owner == address,
            Holder::Policy(_) => false,
        };
        let any = |token: &&Token| match &token.holder {
            Holder::Policy(principal) => principal.may(Right::DeviceConnect, &path),
            Holder::Identity(..) => false,
        };
        let found = self.0.iter().find(own).or_else(|| self.0.iter().find(any));
        found.map(|token| token.text.clone())
    }

    /// When the first of them is to be dropped: `grace` after it has ended.
    #[must_use]
    pub fn deadline(&self, grace: Duration) -> Option<Timestamp> {
        let ends = self.0.iter().map(|token| token.holder.expires());
        ends.filter(|ends| *ends != Timestamp::MAX).map(|ends| ends.after(grace)).min()
    }

    /// Drops those whose time is over. Says whether there were any.
    pub fn expire(&mut self, now: Timestamp, grace: Duration) -> bool {
        let before = self.0.len();
        self.0.retain(|token| token.holder.expires().after(grace) > now);
        self.0.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(id: &str, text: &str, expires: u64) -> Token {
        let address = Address::parse(id).unwrap();
        Token::new(text.into(), Holder::Identity(address, Timestamp::from_millis(expires)))
    }

    const ONE: &str = "SharedAccessSignature sr=h%2Fdevices%2Fd1&sig=x&se=1";
    const TWO: &str = "SharedAccessSignature sig=x&SR=h/devices/d2/modules/m&se=1";

    #[test]
    fn a_token_tells_whose_it_is() {
        assert_eq!(candidates(ONE), [Address::parse("d1").unwrap()]);
        assert_eq!(candidates(TWO), [Address::parse("d2/m").unwrap()]);
        assert!(candidates("SharedAccessSignature sr=h&sig=x").is_empty());
        assert!(candidates("nothing").is_empty());
    }

    #[test]
    fn a_later_token_takes_the_place_of_an_earlier_one() {
        let mut tokens = Tokens::default();
        tokens.put(own("d1", ONE, 10), 2).unwrap();
        tokens.put(own("d2/m", TWO, 30), 2).unwrap();
        assert_eq!(tokens.deadline(Duration::ZERO), Some(Timestamp::from_millis(10)));
        // The same identity, spelled in another way.
        let again = "SharedAccessSignature sr=h/devices/d1&sig=y&se=2";
        tokens.put(own("d1", again, 20), 2).unwrap();
        assert_eq!(tokens.deadline(Duration::ZERO), Some(Timestamp::from_millis(20)));
        let text = tokens.device(&Address::parse("d1").unwrap());
        assert_eq!(text.as_deref(), Some(again));
        let full = tokens.put(own("d3", "SharedAccessSignature sr=h/devices/d3", 1), 2);
        assert_eq!(full.unwrap_err().condition, condition::RESOURCE_LIMIT);
        assert!(!tokens.expire(Timestamp::from_millis(19), Duration::ZERO));
        assert!(tokens.expire(Timestamp::from_millis(20), Duration::ZERO));
        assert_eq!(tokens.device(&Address::parse("d1").unwrap()), None);
        assert_eq!(tokens.device(&Address::parse("d2").unwrap()), None);
        assert!(!tokens.is_empty());
    }

    #[test]
    fn a_policy_speaks_for_what_its_token_covers() {
        let mut tokens = Tokens::default();
        tokens.put(Token::new("t".into(), Holder::Policy(Principal::in_process())), 1).unwrap();
        assert!(tokens.service(Right::ServiceConnect, "messages/devicebound").is_some());
        assert!(tokens.device(&Address::parse("any").unwrap()).is_some());
        assert!(Tokens::default().service(Right::ServiceConnect, "x").is_none());
        assert!(!format!("{tokens:?}").contains("\"t\""));
    }
}
