//! Builds nodes of the syntax tree that print correctly. The parser's printer adds no
//! parentheses, so these functions add them where operator precedence requires them.

use promql_parser::parser::token::{T_ADD, T_LAND, T_LOR, T_LUNLESS, T_POW, T_SUB, TokenType};
use promql_parser::parser::{
    AggregateExpr, BinModifier, BinaryExpr, Expr, LabelModifier, ParenExpr, SubqueryExpr, UnaryExpr,
};

/// How tightly an expression binds. See "binary operator precedence" in the
/// Prometheus documentation. A unary minus binds like `*`.
const ATOM: u8 = 7;
const POWER: u8 = 6;
const UNARY: u8 = 5;

/// `lhs op rhs`.
pub(super) fn binary(lhs: Expr, op: TokenType, rhs: Expr, modifiers: Option<BinModifier>) -> Expr {
    let own = binding_of(op);
    // All operators except `^` associate to the left.
    let (left, right) = if op.id() == T_POW { (own + 1, own) } else { (own, own + 1) };
    Expr::Binary(BinaryExpr {
        op,
        lhs: operand(lhs, left),
        rhs: operand(rhs, right),
        modifier: modifiers.and_then(modifier),
    })
}

/// `-expr`.
pub(super) fn negated(expr: Expr) -> Expr {
    match expr {
        // The parser reads a negative literal this way.
        Expr::NumberLiteral(number) => Expr::NumberLiteral(-number),
        Expr::Unary(_) => Expr::Unary(UnaryExpr { expr: Box::new(expr) }),
        _ => Expr::Unary(UnaryExpr { expr: operand(expr, POWER) }),
    }
}

/// `expr[…]` with the range of `like`.
pub(super) fn subquery(expr: Expr, like: &SubqueryExpr) -> Expr {
    Expr::Subquery(SubqueryExpr { expr: operand(expr, ATOM), ..like.clone() })
}

/// `op by (…) (param, expr)`.
pub(super) fn aggregate(op: TokenType, param: Option<Box<Expr>>, expr: Expr, modifier: Option<LabelModifier>) -> Expr {
    Expr::Aggregate(AggregateExpr { op, expr: Box::new(expr), param, modifier: modifier.and_then(grouping) })
}

/// Drops `by ()`: the printer prints nothing for it, which means the same.
pub(super) fn grouping(modifier: LabelModifier) -> Option<LabelModifier> {
    (!matches!(&modifier, LabelModifier::Include(labels) if labels.is_empty())).then_some(modifier)
}

/// `expr` in parentheses unless it binds at least as tightly as `least`.
fn operand(expr: Expr, least: u8) -> Box<Expr> {
    let own = match &expr {
        Expr::Binary(binary) => binding_of(binary.op),
        Expr::Unary(_) => UNARY,
        Expr::NumberLiteral(number) if number.val.is_sign_negative() => UNARY,
        _ => ATOM,
    };
    // A sign right after an operator looks like a mistake, so it always gets parentheses.
    if own < least || own == UNARY && !matches!(expr, Expr::Binary(_)) {
        return Box::new(Expr::Paren(ParenExpr { expr: Box::new(expr) }));
    }
    Box::new(expr)
}

fn binding_of(op: TokenType) -> u8 {
    match op.id() {
        T_LOR => 1,
        T_LAND | T_LUNLESS => 2,
        _ if op.is_comparison_operator() => 3,
        T_ADD | T_SUB => 4,
        T_POW => POWER,
        _ => UNARY,
    }
}

/// Drops `ignoring ()` and an empty modifier: the printer prints nothing for them.
pub(super) fn modifier(mut modifier: BinModifier) -> Option<BinModifier> {
    if matches!(&modifier.matching, Some(LabelModifier::Exclude(labels)) if labels.is_empty()) {
        modifier.matching = None;
    }
    (modifier != BinModifier::default()).then_some(modifier)
}
