//! Shared access policies: named pairs of keys with rights.

use std::fmt;

use super::key::{KeyForm, SymmetricKey};
use super::sas::SharedAccessSignature;

/// Most policies of a hub.
pub const POLICIES_MAX: usize = 16;

/// Longest name of a policy, in characters.
const NAME_LENGTH_MAX: usize = 64;

/// One right. The discriminant is its bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Right {
    /// Read identities.
    RegistryRead = 1,
    /// Create, update and delete identities. Always granted together with reading.
    RegistryWrite = 2,
    /// Everything of a back end: events, cloud-to-device messages, twins, methods, queries.
    ServiceConnect = 4,
    /// What a device does, as any device of the policy's resource.
    DeviceConnect = 8,
}

impl Right {
    /// All rights.
    pub const ALL: [Self; 4] =
        [Self::RegistryRead, Self::RegistryWrite, Self::ServiceConnect, Self::DeviceConnect];

    /// The name, as settings spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RegistryRead => "RegistryRead",
            Self::RegistryWrite => "RegistryWrite",
            Self::ServiceConnect => "ServiceConnect",
            Self::DeviceConnect => "DeviceConnect",
        }
    }
}

/// A set of rights. Whoever may write the registry may read it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Rights(u8);

impl Rights {
    /// No right.
    pub const NONE: Self = Self(0);
    /// Every right.
    pub const ALL: Self = Self(15);

    /// With this right as well.
    #[must_use]
    pub const fn with(self, right: Right) -> Self {
        match right {
            Right::RegistryWrite => Self(self.0 | 3),
            other => Self(self.0 | other as u8),
        }
    }

    /// Whether this right is in the set.
    #[must_use]
    pub const fn has(self, right: Right) -> bool {
        self.0 & right as u8 != 0
    }

    /// Whether the set is empty.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The bits: reading the registry 1, writing it 2, service 4, device 8.
    #[must_use]
    pub const fn to_bits(self) -> u8 {
        self.0
    }

    /// From what [`Rights::to_bits`] gave; unknown bits are dropped.
    #[must_use]
    pub fn from_bits(bits: u8) -> Self {
        let set = Right::ALL.into_iter().filter(|right| bits & *right as u8 != 0);
        set.collect()
    }
}

impl From<Right> for Rights {
    fn from(right: Right) -> Self {
        Self::NONE.with(right)
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        rights.into_iter().fold(Self::NONE, Self::with)
    }
}

/// A text that does not list rights. Does not repeat it: what stands where a right should may be
/// a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "rights are RegistryRead, RegistryWrite, ServiceConnect and DeviceConnect, joined by plus signs"
)]
pub struct RightsError;

/// Parses `RegistryRead+ServiceConnect`: names in any case, joined by `+` or `,`, blanks around
/// them ignored. `RegistryReadWrite` is another name of `RegistryWrite`.
impl std::str::FromStr for Rights {
    type Err = RightsError;

    fn from_str(text: &str) -> Result<Self, RightsError> {
        text.split(['+', ','])
            .map(|name| {
                let name = name.trim();
                let plain = if name.eq_ignore_ascii_case("RegistryReadWrite") {
                    Right::RegistryWrite.as_str()
                } else {
                    name
                };
                let found =
                    Right::ALL.into_iter().find(|right| right.as_str().eq_ignore_ascii_case(plain));
                found.ok_or(RightsError)
            })
            .collect()
    }
}

/// The names, joined by `+`.
impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> =
            Right::ALL.into_iter().filter(|r| self.has(*r)).map(Right::as_str).collect();
        f.write_str(&names.join("+"))
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rights({self})")
    }
}

/// Why a policy was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// The name is not 1 to 64 ASCII letters, digits and `_ - @ .`.
    #[error("policy name must be 1 to 64 letters, digits and _ - @ .")]
    Name,
    /// The policy grants nothing.
    #[error("policy {0} has no rights")]
    NoRights(String),
    /// The hub has [`POLICIES_MAX`] policies already.
    #[error("a hub has at most {POLICIES_MAX} policies")]
    TooMany,
}

/// A shared access policy: a name, two keys that are both valid, and rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    name: Box<str>,
    primary: SymmetricKey,
    secondary: SymmetricKey,
    rights: Rights,
}

impl Policy {
    /// A policy.
    ///
    /// # Errors
    /// [`PolicyError`] when the name is not one or no right is granted.
    pub fn new(
        name: &str,
        primary: SymmetricKey,
        secondary: SymmetricKey,
        rights: Rights,
    ) -> Result<Self, PolicyError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-@.".contains(c);
        if name.is_empty() || name.len() > NAME_LENGTH_MAX || !name.chars().all(plain) {
            return Err(PolicyError::Name);
        }
        if rights.is_empty() {
            return Err(PolicyError::NoRights(name.to_owned()));
        }
        Ok(Self { name: name.into(), primary, secondary, rights })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its first key.
    #[must_use]
    pub fn primary(&self) -> &SymmetricKey {
        &self.primary
    }

    /// Its second key, as good as the first.
    #[must_use]
    pub fn secondary(&self) -> &SymmetricKey {
        &self.secondary
    }

    /// What it grants.
    #[must_use]
    pub fn rights(&self) -> Rights {
        self.rights
    }
}

/// The policies of a hub. Names are told apart without regard to case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policies(Vec<Policy>);

impl Policies {
    /// No policies: only identities' own credentials are good.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The five policies that a new hub has, with keys made of the caller's randomness:
    /// `iothubowner` (all rights), `service`, `device`, `registryRead` and `registryReadWrite`.
    #[must_use]
    pub fn standard(random: &[u8; 320]) -> Self {
        let (keys, _) = random.as_chunks::<32>();
        let mut keys = keys.iter().map(SymmetricKey::generate);
        let rights = [
            ("iothubowner", Rights::ALL),
            ("service", Right::ServiceConnect.into()),
            ("device", Right::DeviceConnect.into()),
            ("registryRead", Right::RegistryRead.into()),
            ("registryReadWrite", Right::RegistryWrite.into()),
        ];
        let policies = rights.into_iter().filter_map(|(name, rights)| {
            let (primary, secondary) = (keys.next()?, keys.next()?);
            Some(Policy { name: name.into(), primary, secondary, rights })
        });
        Self(policies.collect())
    }

    /// Adds a policy, or replaces the one of the same name.
    ///
    /// # Errors
    /// [`PolicyError::TooMany`] when there are [`POLICIES_MAX`] others already.
    pub fn insert(&mut self, policy: Policy) -> Result<(), PolicyError> {
        let count = self.0.len();
        match self.0.iter_mut().find(|old| old.name.eq_ignore_ascii_case(&policy.name)) {
            Some(old) => *old = policy,
            None if count < POLICIES_MAX => self.0.push(policy),
            None => return Err(PolicyError::TooMany),
        }
        Ok(())
    }

    /// The policy of this name, in any case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Policy> {
        self.0.iter().find(|policy| policy.name.eq_ignore_ascii_case(name))
    }

    /// All policies, in the order they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.0.iter()
    }

    /// The policy that the token names, if one of its keys signed the token in one of these forms.
    ///
    /// A name that is no policy's costs the same time as a wrong signature.
    pub(crate) fn verify(
        &self,
        token: &SharedAccessSignature<'_>,
        forms: &[KeyForm],
    ) -> Option<&Policy> {
        let policy = token.policy().and_then(|name| self.get(name));
        let keys = policy.map(|policy| (&policy.primary, &policy.secondary));
        super::key::which_signed(token, keys, forms).and(policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_flags_and_writing_implies_reading() {
        assert_eq!(Rights::from(Right::RegistryWrite).to_bits(), 3);
        assert_eq!(Rights::from_bits(2).to_bits(), 3);
        assert_eq!(Rights::from_bits(0xfc).to_bits(), 12);
        assert_eq!(Rights::from_iter(Right::ALL), Rights::ALL);
        assert!(!Rights::from(Right::RegistryRead).has(Right::RegistryWrite));
        for bits in 0..16 {
            let rights = Rights::from_bits(bits);
            if !rights.is_empty() {
                assert_eq!(rights.to_string().parse(), Ok(rights));
            }
        }
    }

    #[test]
    fn rights_parse_from_a_list() {
        let parse = |text: &str| text.parse::<Rights>();
        assert_eq!(parse("RegistryRead+ServiceConnect").map(Rights::to_bits), Ok(5));
        assert_eq!(parse("registrywrite, deviceconnect").map(Rights::to_bits), Ok(11));
        assert_eq!(parse("RegistryReadWrite").map(Rights::to_bits), Ok(3));
        for bad in ["", "+", "RegistryRead+", "Owner", "RegistryRead ServiceConnect"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_standard_policies_have_the_documented_rights_and_ten_different_keys() {
        let random = std::array::from_fn(|at| u8::try_from(at / 32).unwrap());
        let policies = Policies::standard(&random);
        let rights = policies.iter().map(|p| (p.name(), p.rights().to_bits())).collect::<Vec<_>>();
        let want = [
            ("iothubowner", 15),
            ("service", 4),
            ("device", 8),
            ("registryRead", 1),
            ("registryReadWrite", 3),
        ];
        assert_eq!(rights, want);
        let keys: std::collections::BTreeSet<_> = policies
            .iter()
            .flat_map(|p| [p.primary().to_base64(), p.secondary().to_base64()])
            .collect();
        assert_eq!(keys.len(), 10);
    }

    #[test]
    fn names_are_checked_and_a_hub_has_sixteen() {
        let key = || SymmetricKey::generate(&[1; 32]);
        let make = |name: &str| Policy::new(name, key(), key(), Rights::ALL);
        for bad in ["", "a b", "a;b", "é", &"x".repeat(65)] {
            assert_eq!(make(bad), Err(PolicyError::Name), "{bad}");
        }
        assert!(matches!(
            Policy::new("n", key(), key(), Rights::NONE),
            Err(PolicyError::NoRights(_))
        ));
        let mut policies = Policies::none();
        for count in 0..POLICIES_MAX {
            policies.insert(make(&format!("p{count}")).unwrap()).unwrap();
        }
        assert_eq!(policies.insert(make("more").unwrap()), Err(PolicyError::TooMany));
        assert_eq!(policies.insert(make("P3").unwrap()), Ok(()), "replaces p3");
        assert_eq!(policies.get("p3").map(Policy::name), Some("P3"));
        assert_eq!(policies.iter().count(), POLICIES_MAX);
    }
}
