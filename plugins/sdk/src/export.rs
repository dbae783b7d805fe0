//! The macro that exports a connector as a component.

/// Exports a type that implements [`Connector`](crate::Connector), with the capabilities that it also implements.
///
/// ```ignore
/// weir_sdk::export!(Echo);
/// weir_sdk::export!(TikTok: signals, media_transfer, history);
/// ```
///
/// In a native build, where the connector is an ordinary library, this only checks that the traits are implemented.
#[macro_export]
macro_rules! export {
    ($connector:ident $(: $($ability:ident),+ $(,)?)?) => {
        #[cfg(target_arch = "wasm32")]
        mod component {
            #![allow(missing_docs, unsafe_code)]
            use super::$connector;
            $crate::bindings::export!($connector);
            $($( $crate::bindings::$ability::export!($connector); )+)?
        }
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            const fn implements<T: $crate::Connector $($(
                + $crate::bindings::$ability::exports::weir::connector::$ability::Guest
            )+)?>() {}
            implements::<$connector>()
        };
    };
}
