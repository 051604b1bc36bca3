// Pi by throwing darts, on Spark's executors.

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.SparkSession;

public class Pi {
  static final int THROWS = 100_000;

  public static void main(String[] arguments) {
    SparkSession session = SparkSession.builder().appName("pi").getOrCreate();
    JavaSparkContext context = new JavaSparkContext(session.sparkContext());
    List<Integer> seeds = new ArrayList<>();
    for (int seed = 0; seed < 8; seed++) seeds.add(seed);
    long inside = context.parallelize(seeds, seeds.size()).map(Pi::hits).reduce(Long::sum);
    System.out.println("Pi is roughly " + 4.0 * inside / (seeds.size() * (long) THROWS));
    session.stop();
  }

  static Long hits(int seed) {
    Random chance = new Random(seed);
    long hits = 0;
    for (int dart = 0; dart < THROWS; dart++) {
      double x = chance.nextDouble();
      double y = chance.nextDouble();
      if (x * x + y * y < 1) hits++;
    }
    return hits;
  }
}
