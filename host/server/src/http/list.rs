//! Lists: `?limit&cursor` in, `{data, has_more, next_cursor}` out.

use axum::Json;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use weir_domain::limits;
use weir_store::{Listed, Page};

use super::problem::{ApiResult, Problem};

/// The requested part of a list.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// The maximum number, 1 to 200; default: 50.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// Where to continue: the `next_cursor` of the previous page.
    cursor: Option<String>,
}

impl Paging {
    /// The requested page.
    pub(crate) fn page(self) -> ApiResult<Page> {
        Ok(Page {
            limit: bounded(self.limit)?,
            cursor: self.cursor,
        })
    }
}

/// A limit within its bounds.
pub(crate) fn bounded(limit: Option<u32>) -> ApiResult<u32> {
    match limit {
        None => Ok(limits::PAGE_DEFAULT),
        Some(limit @ 1..=limits::PAGE) => Ok(limit),
        Some(_) => Err(Problem::parameter(
            "limit",
            format_args!("it is between 1 and {}", limits::PAGE),
        )),
    }
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct List<T> {
    /// The rows of this page.
    pub(crate) data: Vec<T>,
    /// Whether more follow.
    pub(crate) has_more: bool,
    /// The `cursor` of the next page.
    pub(crate) next_cursor: Option<String>,
}

impl<T> List<T> {
    /// A complete list.
    pub(crate) fn whole(data: Vec<T>) -> Json<Self> {
        Json(Self {
            data,
            has_more: false,
            next_cursor: None,
        })
    }

    /// A page of rows, each converted by `show`.
    pub(crate) fn of<R>(listed: Listed<R>, show: impl FnMut(R) -> T) -> Json<Self> {
        Json(Self {
            has_more: listed.next.is_some(),
            next_cursor: listed.next,
            data: listed.rows.into_iter().map(show).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_taken_up_to_its_bound_and_refused_beyond() {
        assert_eq!(bounded(None).ok(), Some(50));
        assert_eq!(bounded(Some(1)).ok(), Some(1));
        assert_eq!(bounded(Some(200)).ok(), Some(200));
        assert!(bounded(Some(0)).is_err());
        assert!(bounded(Some(201)).is_err());
    }

    #[test]
    fn a_page_says_where_to_go_on_or_that_it_is_the_last() {
        let Json(first) = List::of(
            Listed {
                rows: vec![1, 2],
                next: Some("c".into()),
            },
            |row| row * 10,
        );
        assert_eq!(
            (first.data, first.has_more, first.next_cursor.as_deref()),
            (vec![10, 20], true, Some("c"))
        );
        let Json(last) = List::of(
            Listed {
                rows: vec![3],
                next: None,
            },
            |row| row,
        );
        assert!(!last.has_more && last.next_cursor.is_none());
    }
}
