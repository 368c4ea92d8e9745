//! The tree that a text means.

use super::functions::Function;
use super::path::Path;

/// An expression, and where in the text it begins.
///
/// Two expressions are equal if they mean the same; where they stand does not count.
#[derive(Debug, Clone)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Bytes before it in the text.
    pub at: usize,
}

impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

/// What an expression can be.
#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    /// A constant.
    Literal(Literal),
    /// What is looked up in a message, a body or a twin.
    Reference(Reference),
    /// `NOT x`.
    Not(Box<Expr>),
    /// `- x`.
    Negate(Box<Expr>),
    /// `x AND y …`: two operands or more.
    And(Vec<Expr>),
    /// `x OR y …`: two operands or more.
    Or(Vec<Expr>),
    /// An operator between two operands.
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// `x IN […]` and `x NIN […]`: in twin queries only.
    In(Box<Expr>, Membership, Vec<Literal>),
    /// A function and its arguments.
    Call(Function, Vec<Expr>),
    /// `twin_change_includes(path)`: in conditions of routes only.
    ChangeIncludes(Path),
}

/// A constant.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// `undefined`.
    Undefined,
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number: finite.
    Number(f64),
    /// Text.
    Text(Box<str>),
}

/// What is looked up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reference {
    /// `name`: an application property; case does not matter.
    Application(Box<str>),
    /// `$name`: a system property, if there is one of this name and the message has it; else the
    /// application property that is called so, with the `$`.
    Property(Option<SystemName>, Box<str>),
    /// `{$name}`: a system property only. Nothing where no system property has the name.
    System(Option<SystemName>, Box<str>),
    /// `$body.a.b[0]`: a value in the body of the message.
    Body(Path),
    /// `$twin.tags.a`, `$twin.properties.…`: a value in the twin of the sender, below `$twin`.
    Twin(Path),
    /// A value of the row that a twin query looks at.
    Column(Path),
}

impl Expr {
    /// Shows it and everything inside it, from the outside in and from left to right, and how deep
    /// each lies.
    pub fn visit<'e>(&'e self, seen: &mut impl FnMut(usize, &'e Self)) {
        self.visit_at(0, seen);
    }

    fn visit_at<'e>(&'e self, depth: usize, seen: &mut impl FnMut(usize, &'e Self)) {
        seen(depth, self);
        let (pair, many): ([Option<&Self>; 2], &[Self]) = match &self.kind {
            ExprKind::Literal(_) | ExprKind::Reference(_) | ExprKind::ChangeIncludes(_) => {
                ([None, None], &[])
            }
            ExprKind::Not(operand) | ExprKind::Negate(operand) | ExprKind::In(operand, ..) => {
                ([Some(operand), None], &[])
            }
            ExprKind::Binary(_, left, right) => ([Some(left), Some(right)], &[]),
            ExprKind::And(operands) | ExprKind::Or(operands) | ExprKind::Call(_, operands) => {
                ([None, None], operands)
            }
        };
        for inner in pair.into_iter().flatten().chain(many) {
            inner.visit_at(depth + 1, seen);
        }
    }

    /// Whether the kind of its value is known only when it is evaluated.
    pub(super) fn is_dynamic(&self) -> bool {
        match &self.kind {
            ExprKind::Reference(reference) => reference.is_dynamic(),
            ExprKind::Binary(BinaryOp::Coalesce, left, right) => {
                left.is_dynamic() || right.is_dynamic()
            }
            _ => false,
        }
    }
}

impl Reference {
    /// Whether the kind of its value is known only when it is looked up.
    #[must_use]
    pub fn is_dynamic(&self) -> bool {
        matches!(self, Self::Body(_) | Self::Twin(_))
    }
}

/// Whether a value has to be in the list or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Membership {
    /// `IN`.
    Inside,
    /// `NIN`.
    Outside,
}

/// An operator between two operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `??`: the right one if the left one is undefined. Conditions of routes only.
    Coalesce,
    /// `=`.
    Equal,
    /// `!=` or `<>`.
    NotEqual,
    /// `<`.
    Less,
    /// `<=`.
    LessOrEqual,
    /// `>`.
    Greater,
    /// `>=`.
    GreaterOrEqual,
    /// `+`.
    Add,
    /// `-`.
    Subtract,
    /// `||`: concatenation. Conditions of routes only.
    Concat,
    /// `*`.
    Multiply,
    /// `/`.
    Divide,
    /// `%`.
    Remainder,
}

/// How tightly operators bind, from the loosest. `AND` and `OR` are no [`BinaryOp`]s and stand
/// between the first two. There is a place between each two.
pub(super) mod binding {
    pub(crate) const COALESCE: u8 = 2;
    pub(crate) const OR: u8 = 4;
    pub(crate) const AND: u8 = 6;
    pub(crate) const EQUALITY: u8 = 8;
    pub(crate) const RELATION: u8 = 10;
    pub(crate) const SUM: u8 = 12;
    pub(crate) const PRODUCT: u8 = 14;
    pub(crate) const UNARY: u8 = 16;
}

impl BinaryOp {
    /// Its place among the operators: a greater one binds tighter.
    pub(super) fn binding(self) -> u8 {
        match self {
            Self::Coalesce => binding::COALESCE,
            Self::Equal | Self::NotEqual => binding::EQUALITY,
            Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual => {
                binding::RELATION
            }
            Self::Add | Self::Subtract | Self::Concat => binding::SUM,
            Self::Multiply | Self::Divide | Self::Remainder => binding::PRODUCT,
        }
    }

    /// As it is written.
    #[must_use]
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Coalesce => "??",
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Concat => "||",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

/// A system property that a condition can name.
///
/// The names are the routing keywords of IoT Hub's message format; case does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SystemName {
    /// `$messageId`.
    MessageId,
    /// `$correlationId`.
    CorrelationId,
    /// `$userId`.
    UserId,
    /// `$contentType`.
    ContentType,
    /// `$contentEncoding`.
    ContentEncoding,
    /// `$creation-time-utc`: when the device made the message, as it wrote it.
    CreationTime,
    /// `$enqueuedTime`: when the hub accepted the message, as ISO 8601 text.
    EnqueuedTime,
    /// `$connectionDeviceId`: the device that sent it.
    ConnectionDeviceId,
    /// `$connectionModuleId`: the module that sent it.
    ConnectionModuleId,
    /// `$connectionDeviceGenerationId`: the generation of the sender's identity.
    ConnectionDeviceGenerationId,
    /// `$connectionAuthMethod`: how the sender was authenticated, as JSON text.
    ConnectionAuthMethod,
    /// `$dt-subject`: the component that sent it.
    Subject,
    /// `$dt-dataschema`: the model that the connection announced.
    DataSchema,
}

impl SystemName {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::MessageId,
        Self::CorrelationId,
        Self::UserId,
        Self::ContentType,
        Self::ContentEncoding,
        Self::CreationTime,
        Self::EnqueuedTime,
        Self::ConnectionDeviceId,
        Self::ConnectionModuleId,
        Self::ConnectionDeviceGenerationId,
        Self::ConnectionAuthMethod,
        Self::Subject,
        Self::DataSchema,
    ];

    /// The keyword, without the `$`.
    #[must_use]
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::MessageId => "messageId",
            Self::CorrelationId => "correlationId",
            Self::UserId => "userId",
            Self::ContentType => "contentType",
            Self::ContentEncoding => "contentEncoding",
            Self::CreationTime => "creation-time-utc",
            Self::EnqueuedTime => "enqueuedTime",
            Self::ConnectionDeviceId => "connectionDeviceId",
            Self::ConnectionModuleId => "connectionModuleId",
            Self::ConnectionDeviceGenerationId => "connectionDeviceGenerationId",
            Self::ConnectionAuthMethod => "connectionAuthMethod",
            Self::Subject => "dt-subject",
            Self::DataSchema => "dt-dataschema",
        }
    }

    /// The property with this keyword, in whatever case.
    #[must_use]
    pub fn from_keyword(keyword: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.keyword().eq_ignore_ascii_case(keyword))
    }
}
