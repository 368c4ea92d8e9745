//! What is to be done with a record.

use super::error::RecordError;
use super::object::Object;

/// What is to be done with the identity of a record: the table of [`crate::bulk`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[expect(missing_docs, reason = "the names are the service's; the table says what each means")]
pub enum ImportMode {
    Create,
    Update,
    UpdateIfMatch,
    #[default]
    CreateOrUpdate,
    CreateOrUpdateIfMatch,
    Delete,
    DeleteIfMatch,
    UpdateTwin,
    UpdateTwinIfMatch,
}

impl ImportMode {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Create,
        Self::Update,
        Self::UpdateIfMatch,
        Self::CreateOrUpdate,
        Self::CreateOrUpdateIfMatch,
        Self::Delete,
        Self::DeleteIfMatch,
        Self::UpdateTwin,
        Self::UpdateTwinIfMatch,
    ];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::UpdateIfMatch => "updateIfMatchETag",
            Self::CreateOrUpdate => "createOrUpdate",
            Self::CreateOrUpdateIfMatch => "createOrUpdateIfMatchETag",
            Self::Delete => "delete",
            Self::DeleteIfMatch => "deleteIfMatchETag",
            Self::UpdateTwin => "updateTwin",
            Self::UpdateTwinIfMatch => "updateTwinIfMatchETag",
        }
    }

    /// What a refusal says was being done.
    #[must_use]
    pub const fn operation(self) -> &'static str {
        match self {
            Self::Create => "Create",
            Self::Update | Self::UpdateIfMatch => "Update",
            Self::CreateOrUpdate | Self::CreateOrUpdateIfMatch => "CreateOrUpdate",
            Self::Delete | Self::DeleteIfMatch => "Delete",
            Self::UpdateTwin | Self::UpdateTwinIfMatch => "UpdateTwin",
        }
    }

    /// The mode that a record names, in any case; the default if it names none.
    ///
    /// # Errors
    /// A word that is none of the modes, or no word.
    pub fn of(record: Object<'_>) -> Result<Self, RecordError> {
        let Some(word) = record.text("importMode")? else { return Ok(Self::default()) };
        Self::ALL
            .into_iter()
            .find(|mode| mode.name().eq_ignore_ascii_case(word))
            .ok_or_else(|| RecordError::invalid("importMode is unknown"))
    }
}
