//! What an expression can cost at most, computed from its parsed form.

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, operators,
};

use super::CelError;

/// The largest value on the way, in bytes and items.
const LARGEST: u64 = 4 << 20;
/// The most work, in about nanoseconds.
const MOST_WORK: u64 = 50_000_000;
/// Compiling one regular expression.
const REGEX_WORK: u64 = 100_000;

/// At most what a part of an expression comes to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bound {
    /// The value, in bytes and items.
    size: u64,
    /// Its items, and the largest of them.
    items: u64,
    largest: u64,
    /// The work to get it.
    work: u64,
}

impl Bound {
    fn value(size: u64) -> Self {
        Self { size, items: size, largest: size, work: 1 }
    }

    fn of(items: &[Self]) -> Self {
        let mut all = Self { work: 1, ..Self::default() };
        for item in items {
            all.size = all.size.saturating_add(item.size + 1);
            all.items += 1;
            all.largest = all.largest.max(item.size);
            all.work = all.work.saturating_add(item.work);
        }
        all
    }

    fn checked(self) -> Result<Self, CelError> {
        if self.size > LARGEST || self.work > MOST_WORK {
            return Err(CelError::TooLarge(
                "evaluating it could take too long; use fewer comprehensions inside each other, or smaller lists"
                    .to_owned(),
            ));
        }
        Ok(self)
    }
}

/// Names that stand for types.
pub(super) const TYPES: [&str; 10] =
    ["bool", "bytes", "double", "int", "list", "map", "null_type", "string", "type", "uint"];

/// What `expr` costs at most. `names`: the variables of the comprehensions around it.
pub(super) fn bound(expr: &IdedExpr, names: &mut Vec<(String, Bound)>) -> Result<Bound, CelError> {
    let found = match &expr.expr {
        Expr::Literal(LiteralValue::String(text)) => Bound::value(text.inner().len() as u64 + 1),
        Expr::Literal(LiteralValue::Bytes(bytes)) => Bound::value(bytes.inner().len() as u64 + 1),
        Expr::Unspecified | Expr::Literal(_) => Bound::value(1),
        Expr::Ident(name) => match names.iter().rev().find(|(known, _)| known == name) {
            Some((_, bound)) => Bound { work: bound.size + 1, ..*bound },
            None if TYPES.contains(&name.as_str()) => Bound::value(1),
            None => return Err(CelError::Undeclared(name.clone())),
        },
        Expr::Select(select) if is_type_of_time(select, names) => Bound::value(1),
        Expr::Select(select) => bound(&select.operand, names)?,
        Expr::List(list) => {
            let items: Result<Vec<_>, _> = list.elements.iter().map(|item| bound(item, names)).collect();
            Bound::of(&items?)
        }
        Expr::Map(map) => entries(map.entries.iter().map(|entry| &entry.expr), names)?,
        Expr::Struct(fields) => entries(fields.entries.iter().map(|entry| &entry.expr), names)?,
        Expr::Call(call) => self::call(call, names)?,
        Expr::Comprehension(comprehension) => self::comprehension(comprehension, names)?,
    };
    found.checked()
}

/// Whether this is `google.protobuf.Timestamp` or `google.protobuf.Duration`.
fn is_type_of_time(select: &SelectExpr, names: &[(String, Bound)]) -> bool {
    let Expr::Select(package) = &select.operand.expr else { return false };
    let Expr::Ident(root) = &package.operand.expr else { return false };
    let spelled = !select.test && !package.test && root == "google" && package.field == "protobuf";
    spelled
        && matches!(&*select.field, "Duration" | "Timestamp")
        && names.iter().all(|(name, _)| name != root)
}

fn entries<'a>(
    entries: impl Iterator<Item = &'a EntryExpr>,
    names: &mut Vec<(String, Bound)>,
) -> Result<Bound, CelError> {
    let mut items = Vec::new();
    for entry in entries {
        match entry {
            EntryExpr::StructField(field) => items.push(bound(&field.value, names)?),
            EntryExpr::MapEntry(entry) => {
                items.push(bound(&entry.key, names)?);
                items.push(bound(&entry.value, names)?);
            }
        }
    }
    Ok(Bound::of(&items))
}

fn call(call: &CallExpr, names: &mut Vec<(String, Bound)>) -> Result<Bound, CelError> {
    let args: Result<Vec<Bound>, CelError> =
        call.target.as_deref().into_iter().chain(&call.args).map(|arg| bound(arg, names)).collect();
    let args = args?;
    let mut work = args.iter().fold(10u64, |sum, arg| sum.saturating_add(arg.work).saturating_add(arg.size));
    let largest = args.iter().map(|arg| arg.largest).max().unwrap_or(0);
    let size = match call.func_name.as_str() {
        operators::ADD => {
            let (size, items) =
                args.iter().fold((0u64, 0u64), |sum, arg| (sum.0 + arg.size, sum.1 + arg.items));
            return Ok(Bound { size, items, largest, work });
        }
        operators::CONDITIONAL => {
            let items = args.iter().skip(1).map(|arg| arg.items).max().unwrap_or(0);
            let size = args.iter().skip(1).map(|arg| arg.size).max().unwrap_or(0);
            return Ok(Bound { size, items, largest, work });
        }
        "matches" => {
            let product = args.iter().fold(1u64, |product, arg| product.saturating_mul(arg.size.max(1)));
            work = work.saturating_add(REGEX_WORK).saturating_add(product);
            1
        }
        // Each occurrence may become the longer text.
        "replace" => {
            let longest = args.get(2).map_or(1, |with| with.size.saturating_add(1));
            args.first().map_or(0, |text| text.size).saturating_add(1).saturating_mul(longest)
        }
        "join" => {
            let (list, with) =
                (args.first().copied().unwrap_or_default(), args.get(1).map_or(0, |with| with.size));
            list.size.saturating_add(list.items.saturating_mul(with))
        }
        "distinct" | "sort" | "sortBy" | "@sortByAssociatedKeys" | "indexOf" | "lastIndexOf" => {
            let size = args.iter().fold(1u64, |size, arg| size.saturating_add(arg.size));
            work = work.saturating_add(size.saturating_mul(size));
            size
        }
        operators::LOGICAL_AND
        | operators::LOGICAL_OR
        | operators::LOGICAL_NOT
        | operators::EQUALS
        | operators::NOT_EQUALS
        | operators::GREATER
        | operators::GREATER_EQUALS
        | operators::LESS
        | operators::LESS_EQUALS
        | operators::IN
        | operators::NOT_STRICTLY_FALSE
        | "size"
        | "contains"
        | "startsWith"
        | "endsWith" => 1,
        // The longest text of a number has 326 characters.
        _ => args.iter().fold(330u64, |sum, arg| sum.saturating_add(arg.size)),
    };
    Ok(Bound { work, ..Bound::value(size) })
}

fn comprehension(
    comprehension: &ComprehensionExpr,
    names: &mut Vec<(String, Bound)>,
) -> Result<Bound, CelError> {
    let range = bound(&comprehension.iter_range, names)?;
    let init = bound(&comprehension.accu_init, names)?;
    let item = Bound::value(range.largest);
    let before = names.len();
    names.push((comprehension.iter_var.clone(), item));
    names.extend(comprehension.iter_var2.iter().map(|name| (name.clone(), item)));
    // The accumulator is only ever added to: what one round adds is what the step gives with an empty one.
    names.push((comprehension.accu_var.clone(), Bound::default()));
    let step = bound(&comprehension.loop_step, names)?;
    let condition = bound(&comprehension.loop_cond, names)?;
    let rounds = range.items;
    let total = Bound {
        size: init.size.saturating_add(rounds.saturating_mul(step.size)),
        items: init.items.saturating_add(rounds.saturating_mul(step.items)),
        largest: init.largest.max(step.largest),
        work: 1,
    };
    if let Some(accumulator) = names.last_mut() {
        accumulator.1 = total;
    }
    let result = bound(&comprehension.result, names)?;
    names.truncate(before);
    let round = step.work.saturating_add(condition.work).saturating_add(total.size);
    let work = rounds
        .saturating_mul(round)
        .saturating_add(range.work)
        .saturating_add(init.work)
        .saturating_add(result.work);
    Ok(Bound { work, ..result })
}
