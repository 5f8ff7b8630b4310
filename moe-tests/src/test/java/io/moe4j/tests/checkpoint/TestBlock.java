package io.moe4j.tests.checkpoint;

import io.moe4j.Activation;
import io.moe4j.DType;
import io.moe4j.MoeSpec;
import io.moe4j.QuantFormat;
import io.moe4j.RoutingMethod;
import io.moe4j.tests.fixtures.Bytes;
import io.moe4j.tests.fixtures.ExpertDraws;
import io.moe4j.tests.fixtures.TestExpert;
import io.moe4j.tests.oracle.BlockMatrix;
import io.moe4j.tests.oracle.MoeOracle;
import io.moe4j.tests.oracle.OracleToken;
import io.moe4j.tests.oracle.RoutingOracle;
import java.util.List;
import java.util.SplittableRandom;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * The numbers of one MoE block: router, routed experts and, where the model has them, a shared
 * expert whose output is added with weight 1.
 *
 * @param spec the layer with BF16 activations
 * @param router [E * H], exact in BF16
 * @param routerBias [E] added to the logits, or null
 * @param selectionBias [E] added to the scores that select, or null
 * @param shared null for none
 */
@SuppressWarnings("ArrayRecordComponent")
record TestBlock(
    MoeSpec spec,
    List<TestExpert> experts,
    double[] router,
    double[] routerBias,
    double[] selectionBias,
    TestExpert shared) {

  /** What the block makes of a token: the choice of experts and the output. */
  @SuppressWarnings("ArrayRecordComponent")
  record Expected(int[] ids, double[] weights, double[] output) {}

  /** A choice that float32 rounding of the logits cannot turn. */
  private static final double DECISIVE = 1e-4;

  /** Random numbers for a layer of plain SwiGLU without shared experts. */
  static TestBlock draw(MoeSpec spec, DType biasDtype, long seed) {
    SplittableRandom random = new SplittableRandom(seed);
    ExpertDraws draws = new ExpertDraws(spec, biasDtype, random);
    List<TestExpert> experts =
        Stream.generate(draws::next)
            .limit(spec.numExperts())
            .map(TestBlock::plain)
            .map(TestBlock::withUpScaleOfAThird)
            .toList();
    double deviation = 1 / Math.sqrt(spec.hiddenSize());
    return new TestBlock(
        spec,
        experts,
        gaussians(random, spec.numExperts() * spec.hiddenSize(), 2 * deviation),
        biasDtype == null ? null : gaussians(random, spec.numExperts(), 0.5),
        spec.routing().method() == RoutingMethod.DEEPSEEK_V3
            ? gaussians(random, spec.numExperts(), 0.1)
            : null,
        null);
  }

  /** This block with a shared expert. */
  TestBlock withShared(int intermediateSize, QuantFormat format, long seed) {
    MoeSpec sharedSpec =
        MoeSpec.builder()
            .weightFormat(format)
            .hiddenSize(spec.hiddenSize())
            .intermediateSize(intermediateSize)
            .numExperts(1)
            .topK(1)
            .build();
    TestExpert expert = new ExpertDraws(sharedSpec, null, new SplittableRandom(seed)).next();
    return new TestBlock(
        spec, experts, router, routerBias, selectionBias, withUpScaleOfAThird(plain(expert)));
  }

  /** This block with another activation of its experts. */
  TestBlock withActivation(float alpha, float beta, float limit) {
    return new TestBlock(
        spec,
        experts.stream().map(expert -> withActivation(expert, alpha, beta, limit)).toList(),
        router,
        routerBias,
        selectionBias,
        shared);
  }

  /** A token whose choice of experts is beyond doubt, exact in BF16. */
  double[] decisiveToken(SplittableRandom random) {
    double[] x;
    do {
      x = gaussians(random, spec.hiddenSize(), 1);
    } while (route(logits(x)).margin() < DECISIVE);
    return x;
  }

  /** Router logits of a token. */
  double[] logits(double[] x) {
    int hidden = spec.hiddenSize();
    return IntStream.range(0, spec.numExperts())
        .mapToDouble(
            expert -> {
              double sum = routerBias == null ? 0 : routerBias[expert];
              for (int i = 0; i < hidden; i++) {
                sum += router[expert * hidden + i] * x[i];
              }
              return sum;
            })
        .toArray();
  }

  /** Experts chosen from logits. */
  RoutingOracle.Choice route(double[] logits) {
    return RoutingOracle.route(spec.routing(), spec.topK(), logits, selectionBias);
  }

  /** The block's results for tokens whose experts are given. */
  List<Expected> expected(QuantFormat activations, List<double[]> tokens, List<Expected> routed) {
    MoeOracle routedExperts = new MoeOracle(spec(spec, activations), i -> experts.get(i).oracle());
    MoeOracle sharedExpert = shared == null ? null : sharedOracle(activations);
    return IntStream.range(0, tokens.size())
        .mapToObj(
            i -> {
              double[] x = tokens.get(i);
              Expected choice = routed.get(i);
              double[] y =
                  routedExperts.output(
                      new OracleToken(x, false, choice.ids, choice.weights, 1, null));
              if (sharedExpert != null) {
                double[] s =
                    sharedExpert.output(
                        new OracleToken(x, false, new int[] {0}, new double[] {1}, 1, null));
                for (int c = 0; c < y.length; c++) {
                  y[c] += s[c];
                }
              }
              return new Expected(choice.ids, choice.weights, y);
            })
        .toList();
  }

  /** A shared expert in BF16 multiplies BF16, whatever the quantized experts do. */
  private MoeOracle sharedOracle(QuantFormat activations) {
    MoeSpec sharedSpec =
        MoeSpec.builder()
            .weightFormat(shared.gate().format())
            .hiddenSize(spec.hiddenSize())
            .intermediateSize(shared.gate().rows())
            .numExperts(1)
            .topK(1)
            .build();
    QuantFormat format =
        shared.gate().format() == QuantFormat.BF16 ? QuantFormat.BF16 : activations;
    return new MoeOracle(spec(sharedSpec, format), i -> shared.oracle());
  }

  private static MoeSpec spec(MoeSpec spec, QuantFormat activations) {
    return MoeSpec.builder()
        .weightFormat(spec.weightFormat())
        .activationFormat(activations)
        .hiddenSize(spec.hiddenSize())
        .intermediateSize(spec.intermediateSize())
        .numExperts(spec.numExperts())
        .topK(spec.topK())
        .activation(Activation.SWIGLU)
        .routing(spec.routing())
        .build();
  }

  private static TestExpert plain(TestExpert expert) {
    return withActivation(expert, 1f, 0f, Float.POSITIVE_INFINITY);
  }

  private static TestExpert withActivation(
      TestExpert expert, float alpha, float beta, float limit) {
    return copy(expert, expert.up(), alpha, beta, limit);
  }

  /** Up's tensor scale becomes a third of gate's; formats without tensor scales stay. */
  private static TestExpert withUpScaleOfAThird(TestExpert expert) {
    BlockMatrix up = expert.up();
    float scale =
        up.format() == QuantFormat.NVFP4 ? expert.gate().tensorScale() / 3 : up.tensorScale();
    return copy(
        expert,
        new BlockMatrix(up.format(), up.rows(), up.columns(), up.codes(), up.scales(), scale),
        expert.alpha(),
        expert.beta(),
        expert.limit());
  }

  private static TestExpert copy(
      TestExpert expert, BlockMatrix up, float alpha, float beta, float limit) {
    return new TestExpert(
        expert.gate(),
        up,
        expert.down(),
        expert.biasDtype(),
        expert.gateBias(),
        expert.upBias(),
        expert.downBias(),
        expert.inputScale(),
        expert.intermediateScale(),
        alpha,
        beta,
        limit);
  }

  private static double[] gaussians(SplittableRandom random, int count, double deviation) {
    return IntStream.range(0, count)
        .mapToDouble(i -> Bytes.round(DType.BF16, random.nextGaussian() * deviation))
        .toArray();
  }
}
