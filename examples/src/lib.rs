//! Examples of the hub: small programs, each with one question. The README of the project lists them.
//!
//! This library holds nothing. It makes tests of the code in the project's pages, so that none of it
//! stops compiling unnoticed.

macro_rules! pages {
    ($($name:ident = $path:literal),* $(,)?) => {
        $(
            #[cfg(doctest)]
            #[doc = include_str!(concat!("../../", $path))]
            pub mod $name {}
        )*
    };
}

pages! {
    readme = "README.md",
    configurations = "docs/configurations.md",
    delivery = "docs/delivery.md",
    direct_methods = "docs/direct-methods.md",
    jobs = "docs/jobs.md",
    queries = "docs/queries.md",
    quotas = "docs/quotas.md",
    registry_import_export = "docs/registry-import-export.md",
    twins = "docs/twins.md",
    writing_a_store = "docs/writing-a-store.md",
    writing_a_transport = "docs/writing-a-transport.md",
}
