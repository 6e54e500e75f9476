package io.candle4j.internal;

import tools.jackson.core.JsonParser;
import tools.jackson.databind.DeserializationContext;
import tools.jackson.databind.deser.std.StdScalarDeserializer;
import tools.jackson.databind.module.SimpleModule;

/** Reads floating-point numbers, and refuses those that a type has no room for. */
final class FiniteNumbers {
  private FiniteNumbers() {}

  static SimpleModule module() {
    return new SimpleModule()
        .addDeserializer(Double.class, new OfDouble(Double.class))
        .addDeserializer(double.class, new OfDouble(double.class))
        .addDeserializer(Float.class, new OfFloat(Float.class))
        .addDeserializer(float.class, new OfFloat(float.class));
  }

  private static final class OfDouble extends StdScalarDeserializer<Double> {
    OfDouble(Class<Double> type) {
      super(type);
    }

    @Override
    public Double deserialize(JsonParser parser, DeserializationContext context) {
      double value = parser.getDoubleValue();
      if (Double.isInfinite(value)) {
        context.reportInputMismatch(this, "%s is no double", parser.getString());
      }
      return value;
    }
  }

  private static final class OfFloat extends StdScalarDeserializer<Float> {
    OfFloat(Class<Float> type) {
      super(type);
    }

    @Override
    public Float deserialize(JsonParser parser, DeserializationContext context) {
      float value = (float) parser.getDoubleValue();
      if (Float.isInfinite(value)) {
        context.reportInputMismatch(this, "%s is no float", parser.getString());
      }
      return value;
    }
  }
}
