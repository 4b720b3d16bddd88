//! Enums.

use serde::de::{self, DeserializeSeed, Error as _, IntoDeserializer, Visitor};

use crate::DecodeError;
use crate::decoder::Decoder;
use crate::result;

/// An enum: an atom, or a tuple that begins with one. `arity` is 0 for the bare atom.
pub(super) struct Variant<'a, 'de> {
    pub(super) decoder: &'a mut Decoder<'de>,
    pub(super) arity: u32,
    pub(super) is_result: bool,
}

impl Variant<'_, '_> {
    /// Returns an error unless the variant is a tuple with so many elements after its name.
    #[inline]
    fn check_elements(&self, elements: usize) -> Result<(), DecodeError> {
        match self.arity as usize {
            arity if arity == elements + 1 => Ok(()),
            0 => Err(DecodeError::custom("expected a tuple, found a bare atom")),
            arity => Err(DecodeError::custom(format_args!(
                "expected a tuple of {}, found a tuple of {arity}",
                elements + 1
            ))),
        }
    }
}

impl<'de> de::EnumAccess<'de> for Variant<'_, 'de> {
    type Error = DecodeError;
    type Variant = Self;

    #[inline]
    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self), DecodeError> {
        let variant = match self.is_result {
            true => {
                let name = result::decoded(self.decoder.token()?);
                seed.deserialize(name.into_deserializer())?
            }
            false => seed.deserialize(&mut *self.decoder)?,
        };
        Ok((variant, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'_, 'de> {
    type Error = DecodeError;

    #[inline]
    fn unit_variant(self) -> Result<(), DecodeError> {
        match self.arity {
            0 => Ok(()),
            arity => Err(DecodeError::custom(format_args!(
                "expected a bare atom, found a tuple of {arity}"
            ))),
        }
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, DecodeError> {
        if self.is_result && self.arity == 0 {
            // A bare `:ok` stands for `Ok(())`.
            let nil = &mut Decoder::new(result::NIL, self.decoder.budget, self.decoder.tuple_as);
            return seed.deserialize(nil);
        }
        self.check_elements(1)?;
        seed.deserialize(self.decoder)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(
        self,
        elements: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.check_elements(elements)?;
        self.decoder.elements(self.arity - 1, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.check_elements(1)?;
        de::Deserializer::deserialize_struct(self.decoder, "", fields, visitor)
    }
}
