//! The APIs and their versions.

include!(concat!(env!("OUT_DIR"), "/apis.rs"));

impl ApiKey {
    /// The API with this number.
    pub fn from_code(code: i16) -> Option<ApiKey> {
        let at = SUPPORTED.binary_search_by_key(&code, |(api, ..)| *api as i16).ok()?;
        Some(SUPPORTED[at].0)
    }

    /// Its number on the wire.
    #[inline]
    pub const fn code(self) -> i16 {
        self as i16
    }

    /// First and last version that the codec covers.
    pub fn versions(self) -> (i16, i16) {
        let entry = SUPPORTED.iter().find(|(api, ..)| *api == self);
        let (_, min, max) = entry.expect("the table holds every API");
        (*min, *max)
    }

    /// True if the codec covers this version.
    pub fn supports(self, version: i16) -> bool {
        let (min, max) = self.versions();
        (min..=max).contains(&version)
    }

    /// Version of the request's header: 2 with tagged fields, else 1.
    #[inline]
    pub fn request_header_version(self, version: i16) -> i16 {
        if version >= self.flexible_from() { 2 } else { 1 }
    }

    /// Version of the response's header: 1 with tagged fields, else 0. ApiVersions always answers under version 0, so
    /// that a client which does not know the broker's versions yet can read it (KIP-511).
    #[inline]
    pub fn response_header_version(self, version: i16) -> i16 {
        i16::from(self != ApiKey::ApiVersions && version >= self.flexible_from())
    }
}

impl std::fmt::Display for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
