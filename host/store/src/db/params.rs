//! Parameters of statements.

/// A parameter of a statement. It has a type even if it is null: an engine that infers the types of parameters needs
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Param<'p> {
    Null(Kind),
    Integer(i64),
    Text(&'p str),
    Blob(&'p [u8]),
    /// A list, which a statement reads by `IN (SELECT value FROM json_each(?1))`.
    Integers(&'p [i64]),
    Texts(&'p [String]),
}

impl Param<'_> {
    /// Its type.
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Null(kind) => *kind,
            Self::Integer(_) => Kind::Integer,
            Self::Text(_) => Kind::Text,
            Self::Blob(_) => Kind::Blob,
            Self::Integers(_) => Kind::Integers,
            Self::Texts(_) => Kind::Texts,
        }
    }
}

/// The types of columns, and of lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Integer,
    Text,
    Blob,
    Integers,
    Texts,
}

/// A type that can be a parameter.
pub(crate) trait ToParam {
    const KIND: Kind;
    fn to_param(&self) -> Param<'_>;
}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        impl ToParam for $integer {
            const KIND: Kind = Kind::Integer;
            fn to_param(&self) -> Param<'_> {
                Param::Integer(i64::from(*self))
            }
        }
    )*};
}
integers!(i64, i32, u32, u16, u8, bool);

impl ToParam for str {
    const KIND: Kind = Kind::Text;
    fn to_param(&self) -> Param<'_> {
        Param::Text(self)
    }
}

impl ToParam for String {
    const KIND: Kind = Kind::Text;
    fn to_param(&self) -> Param<'_> {
        Param::Text(self)
    }
}

impl ToParam for [u8] {
    const KIND: Kind = Kind::Blob;
    fn to_param(&self) -> Param<'_> {
        Param::Blob(self)
    }
}

impl ToParam for Vec<u8> {
    const KIND: Kind = Kind::Blob;
    fn to_param(&self) -> Param<'_> {
        Param::Blob(self)
    }
}

impl ToParam for [i64] {
    const KIND: Kind = Kind::Integers;
    fn to_param(&self) -> Param<'_> {
        Param::Integers(self)
    }
}

impl ToParam for [String] {
    const KIND: Kind = Kind::Texts;
    fn to_param(&self) -> Param<'_> {
        Param::Texts(self)
    }
}

impl ToParam for Vec<String> {
    const KIND: Kind = Kind::Texts;
    fn to_param(&self) -> Param<'_> {
        Param::Texts(self)
    }
}

impl<const N: usize> ToParam for [u8; N] {
    const KIND: Kind = Kind::Blob;
    fn to_param(&self) -> Param<'_> {
        Param::Blob(self)
    }
}

impl<T: ToParam + ?Sized> ToParam for &T {
    const KIND: Kind = T::KIND;
    fn to_param(&self) -> Param<'_> {
        (**self).to_param()
    }
}

impl<T: ToParam> ToParam for Option<T> {
    const KIND: Kind = T::KIND;
    fn to_param(&self) -> Param<'_> {
        self.as_ref().map_or(Param::Null(T::KIND), ToParam::to_param)
    }
}

/// An owned parameter: a column of a row that [`Db::insert_all`] writes or a key of [`Db::wanted`].
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Null(Kind),
    Integer(i64),
    Text(String),
    Id([u8; 16]),
    Blob(Vec<u8>),
}

impl Value {
    pub(crate) fn to_param(&self) -> Param<'_> {
        match self {
            Self::Null(kind) => Param::Null(*kind),
            Self::Integer(value) => Param::Integer(*value),
            Self::Text(text) => Param::Text(text),
            Self::Id(id) => Param::Blob(id),
            Self::Blob(bytes) => Param::Blob(bytes),
        }
    }

    /// A null of the same type.
    pub(crate) fn null(&self) -> Param<'_> {
        Param::Null(match self {
            Self::Null(kind) => *kind,
            Self::Integer(_) => Kind::Integer,
            Self::Text(_) => Kind::Text,
            Self::Id(_) | Self::Blob(_) => Kind::Blob,
        })
    }
}

macro_rules! integer_values {
    ($($integer:ty),*) => {$(
        impl From<$integer> for Value {
            fn from(value: $integer) -> Self {
                Self::Integer(value.into())
            }
        }
    )*};
}
integer_values!(i64, i32, u32, u16, u8, bool);

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<[u8; 16]> for Value {
    fn from(id: [u8; 16]) -> Self {
        Self::Id(id)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Blob(bytes)
    }
}

impl<T: ToParam + Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null(T::KIND), Into::into)
    }
}

/// The parameters of one statement, in their order: [`params!`], or an array of one type.
pub(crate) trait Params {
    fn with<R>(&self, bind: impl FnOnce(&[Param<'_>]) -> R) -> R;
}

impl Params for &[Param<'_>] {
    fn with<R>(&self, bind: impl FnOnce(&[Param<'_>]) -> R) -> R {
        bind(self)
    }
}

impl Params for Vec<Param<'_>> {
    fn with<R>(&self, bind: impl FnOnce(&[Param<'_>]) -> R) -> R {
        bind(self)
    }
}

impl Params for [Param<'_>; 0] {
    fn with<R>(&self, bind: impl FnOnce(&[Param<'_>]) -> R) -> R {
        bind(self)
    }
}

macro_rules! arrays {
    ($($length:literal),*) => {$(
        impl<T: ToParam> Params for [T; $length] {
            fn with<R>(&self, bind: impl FnOnce(&[Param<'_>]) -> R) -> R {
                bind(&self.each_ref().map(ToParam::to_param))
            }
        }
    )*};
}
arrays!(1, 2, 3, 4);

/// The parameters of one statement, each of its own type, borrowed for the call.
macro_rules! params {
    ($($value:expr),* $(,)?) => {
        &[$($crate::db::ToParam::to_param(&$value)),*] as &[$crate::db::Param<'_>]
    };
}
pub(crate) use params;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_has_a_type() {
        assert_eq!(None::<u32>.to_param(), Param::Null(Kind::Integer));
        assert_eq!(None::<&String>.to_param(), Param::Null(Kind::Text));
        assert_eq!(None::<[u8; 16]>.to_param(), Param::Null(Kind::Blob));
        assert_eq!(Some(true).to_param(), Param::Integer(1));
    }
}
