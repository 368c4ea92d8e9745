//! Random expressions.

use proptest::prelude::*;

use super::super::*;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Route,
    Query,
}

fn expr(kind: ExprKind) -> Expr {
    Expr { kind, at: 0 }
}

pub(super) fn literal() -> impl Strategy<Value = Literal> {
    let number = prop_oneof![
        4 => (-3..4_i8).prop_map(f64::from),
        1 => any::<f64>().prop_filter("finite", |x| x.is_finite()),
    ];
    let text = prop_oneof![4 => "[ab1]{0,2}", 1 => any::<String>()];
    prop_oneof![
        1 => Just(Literal::Undefined),
        1 => Just(Literal::Null),
        3 => any::<bool>().prop_map(Literal::Bool),
        3 => number.prop_map(Literal::Number),
        3 => text.prop_map(|text| Literal::Text(text.into())),
    ]
}

fn step() -> impl Strategy<Value = Vec<Step>> {
    let name = prop_oneof![4 => "[ab]", 1 => "[a-z$%+-]{1,4}"];
    (name, prop::option::weighted(0.2, 0..3_u32)).prop_map(|(name, index)| {
        let mut steps = vec![Step::Member(name.into())];
        steps.extend(index.map(Step::Index));
        steps
    })
}

fn route_reference() -> impl Strategy<Value = Reference> {
    let path = || prop::collection::vec(step(), 1..3).prop_map(|steps| steps.concat());
    let name = prop_oneof![4 => "[pq]", 1 => "x[a-z0-9.+*%!|'&-]{0,6}"];
    let system = prop::sample::select(&SystemName::ALL[..]);
    prop_oneof![
        3 => name.clone().prop_map(|name| Reference::Application(name.into())),
        1 => name.prop_map(|name| Reference::Property(None, format!("${name}").into())),
        1 => system.clone().prop_map(|system| {
            Reference::Property(Some(system), format!("${}", system.keyword()).into())
        }),
        1 => system.prop_map(|system| {
            Reference::System(Some(system), format!("${}", system.keyword()).into())
        }),
        3 => path().prop_map(|steps| Reference::Body(Path::new(steps))),
        1 => path().prop_map(|steps| {
            Reference::Twin(Path::new([vec![Step::Member("tags".into())], steps].concat()))
        }),
    ]
}

/// The path of a column: below `tags` any name may come that brackets can enclose.
pub(super) fn column() -> impl Strategy<Value = Path> {
    let odd = any::<String>().prop_filter("name", |name| !name.is_empty() && !name.contains("]]"));
    let name = prop_oneof![6 => "[ab]", 1 => "[a-z0-9$_-]{1,5}", 1 => odd];
    let below = (name, prop::option::weighted(0.1, 0..3_u32)).prop_map(|(name, index)| {
        let mut steps = vec![Step::Member(name.into())];
        steps.extend(index.map(Step::Index));
        steps
    });
    let root = prop::sample::select(vec!["tags", "x-y", "deviceId", "select", "1st"]);
    (root, prop::collection::vec(below, 0..3)).prop_map(|(root, steps)| {
        Path::new([vec![Step::Member(root.into())], steps.concat()].concat())
    })
}

const OPERATORS: [BinaryOp; 13] = [
    BinaryOp::Equal,
    BinaryOp::NotEqual,
    BinaryOp::Less,
    BinaryOp::LessOrEqual,
    BinaryOp::Greater,
    BinaryOp::GreaterOrEqual,
    BinaryOp::Add,
    BinaryOp::Subtract,
    BinaryOp::Multiply,
    BinaryOp::Divide,
    BinaryOp::Remainder,
    // In conditions of routes only.
    BinaryOp::Coalesce,
    BinaryOp::Concat,
];

pub(super) fn expression(kind: Kind) -> impl Strategy<Value = Expr> {
    let reference = match kind {
        Kind::Route => route_reference().boxed(),
        Kind::Query => column().prop_map(Reference::Column).boxed(),
    };
    let leaf = prop_oneof![
        literal().prop_map(|literal| expr(ExprKind::Literal(literal))),
        reference.prop_map(|reference| expr(ExprKind::Reference(reference))),
    ];
    let operators = if kind == Kind::Route { &OPERATORS[..] } else { &OPERATORS[..11] };
    leaf.prop_recursive(5, 40, 3, move |inner| {
        let boxed = || inner.clone().prop_map(Box::new);
        let many = || prop::collection::vec(inner.clone(), 2..4);
        let operator = prop::sample::select(operators);
        let function = prop::sample::select(&Function::ALL[..]);
        let call = (function, many(), any::<bool>()).prop_map(|(function, mut arguments, more)| {
            let (fewest, most) = function.arity();
            let wanted = if more { most.min(3) } else { fewest };
            arguments.resize(wanted, expr(ExprKind::Literal(Literal::Number(1.0))));
            ExprKind::Call(function, arguments)
        });
        let shared = prop_oneof![
            2 => boxed().prop_map(ExprKind::Not),
            1 => boxed().prop_map(ExprKind::Negate),
            2 => many().prop_map(ExprKind::And),
            2 => many().prop_map(ExprKind::Or),
            4 => (operator, boxed(), boxed()).prop_map(|(op, a, b)| ExprKind::Binary(op, a, b)),
            2 => call,
        ];
        let own = match kind {
            Kind::Route => {
                let names = prop::collection::vec("[a-z]{1,3}", 1..3);
                let path = |names: Vec<String>| {
                    let names = names.iter().map(String::as_str);
                    Path::of(["properties", "reported"].into_iter().chain(names))
                };
                names.prop_map(move |names| ExprKind::ChangeIncludes(path(names))).boxed()
            }
            Kind::Query => {
                let side = prop::sample::select(vec![Membership::Inside, Membership::Outside]);
                let list = prop::collection::vec(literal(), 1..4);
                (boxed(), side, list)
                    .prop_map(|(a, side, list)| ExprKind::In(a, side, list))
                    .boxed()
            }
        };
        prop_oneof![9 => shared, 1 => own].prop_map(expr)
    })
}
