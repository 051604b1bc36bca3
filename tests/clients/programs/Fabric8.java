// fabric8 as Jenkins' plugin calls it. Arguments: a namespace and an image.

import io.fabric8.kubernetes.api.model.ConfigMapBuilder;
import io.fabric8.kubernetes.api.model.DeletionPropagation;
import io.fabric8.kubernetes.api.model.Event;
import io.fabric8.kubernetes.api.model.Pod;
import io.fabric8.kubernetes.api.model.PodBuilder;
import io.fabric8.kubernetes.client.KubernetesClient;
import io.fabric8.kubernetes.client.KubernetesClientBuilder;
import io.fabric8.kubernetes.client.KubernetesClientException;
import io.fabric8.kubernetes.client.Watcher;
import io.fabric8.kubernetes.client.WatcherException;
import io.fabric8.kubernetes.client.dsl.ExecWatch;
import io.fabric8.kubernetes.client.dsl.LogWatch;
import io.fabric8.kubernetes.client.informers.ResourceEventHandler;
import io.fabric8.kubernetes.client.informers.SharedIndexInformer;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;

public class Fabric8 {
  static String namespace;
  static String image;

  public static void main(String[] arguments) throws Exception {
    namespace = arguments[0];
    image = arguments[1];
    try (KubernetesClient client = new KubernetesClientBuilder().build()) {
      objects(client);
      pods(client);
    }
    System.exit(0);
  }

  static void check(boolean holds, Object shown) {
    if (!holds) throw new AssertionError(String.valueOf(shown));
  }

  static void eventually(String what, BooleanSupplier holds) throws InterruptedException {
    for (int left = 600; !holds.getAsBoolean(); left--) {
      check(left > 0, what);
      Thread.sleep(100);
    }
  }

  static void objects(KubernetesClient client) {
    check(client.getKubernetesVersion().getMinor().startsWith("36"), client.getKubernetesVersion());
    var made = new ConfigMapBuilder().withNewMetadata().withName("java").endMetadata().withData(Map.of("a", "1")).build();
    var maps = client.configMaps().inNamespace(namespace);
    maps.resource(made).create();
    var edited = maps.withName("java").edit(old -> new ConfigMapBuilder(old).addToData("b", "2").build());
    check(edited.getData().size() == 2, edited);
    var applied = maps.resource(made).fieldManager("java").forceConflicts().serverSideApply();
    check(applied.getData().get("a").equals("1"), applied);
    try {
      maps.resource(made).create();
      throw new AssertionError("made twice");
    } catch (KubernetesClientException refused) {
      check(refused.getCode() == 409, refused);
    }
    check(client.secrets().inNamespace(namespace).withName("none").get() == null, "a secret");
  }

  static void pods(KubernetesClient client) throws Exception {
    BlockingQueue<String> seen = new LinkedBlockingQueue<>();
    List<String> informed = new CopyOnWriteArrayList<>();
    var events = client.v1().events().inNamespace(namespace).watch(watcher(new LinkedBlockingQueue<>(), Event.class));
    SharedIndexInformer<Pod> informer = client.pods().inNamespace(namespace).inform(handler(informed));
    var pod = new PodBuilder()
        .withNewMetadata().withName("agent").addToLabels("jenkins", "agent").endMetadata()
        .withNewSpec().withTerminationGracePeriodSeconds(0L).withRestartPolicy("Never")
        .addNewContainer().withName("jnlp").withImage(image).withImagePullPolicy("IfNotPresent").withTty(true)
        .withCommand("sh", "-c", "echo one; echo two; exec sleep 1000").endContainer()
        .endSpec().build();
    client.pods().inNamespace(namespace).resource(pod).create();
    var agent = client.pods().inNamespace(namespace).withName("agent");
    try (var watching = agent.watch(watcher(seen, Pod.class))) {
      agent.waitUntilReady(60, TimeUnit.SECONDS);
      check(seen.poll(30, TimeUnit.SECONDS) != null, "no event on the watch");
    }
    var inside = client.pods().inNamespace(namespace).withName("agent").inContainer("jnlp");
    var output = new ByteArrayOutputStream();
    var errors = new ByteArrayOutputStream();
    try (ExecWatch running = inside.writingOutput(output).writingError(errors)
        .exec("sh", "-c", "echo said; echo bad >&2; exit 7")) {
      check(running.exitCode().get(30, TimeUnit.SECONDS) == 7, "the exit code");
    }
    check(output.toString().equals("said\n") && errors.toString().equals("bad\n"), output + " " + errors);
    try (ExecWatch shell = inside.redirectingInput().redirectingOutput().withTTY().exec("sh")) {
      shell.getInput().write("echo $((6 * 7)); exit\n".getBytes(StandardCharsets.UTF_8));
      shell.getInput().flush();
      var shown = new String(shell.getOutput().readAllBytes(), StandardCharsets.UTF_8);
      check(shown.contains("42"), shown);
    }
    check(inside.file("/tmp/up").upload(new ByteArrayInputStream("content".getBytes(StandardCharsets.UTF_8))), "upload");
    check(new String(inside.file("/tmp/up").read().readAllBytes(), StandardCharsets.UTF_8).equals("content"), "download");
    check(inside.tailingLines(1).getLog().trim().equals("two"), inside.getLog());
    var followed = new ByteArrayOutputStream();
    try (LogWatch log = inside.watchLog(followed)) {
      eventually("the log", () -> followed.toString().contains("two"));
    }
    try (var forward = agent.portForward(8080)) {
      check(forward.isAlive(), "port-forward");
    }
    agent.withPropagationPolicy(DeletionPropagation.BACKGROUND).delete();
    eventually("deletion", () -> informed.contains("deleted agent"));
    check(informed.get(0).equals("added agent"), informed);
    informer.stop();
    events.close();
  }

  static <T> Watcher<T> watcher(BlockingQueue<String> seen, Class<T> kind) {
    return new Watcher<T>() {
      @Override
      public void eventReceived(Action action, T object) {
        seen.add(action.name());
      }

      @Override
      public void onClose(WatcherException cause) {
        seen.add("CLOSED " + cause);
      }
    };
  }

  static ResourceEventHandler<Pod> handler(List<String> informed) {
    return new ResourceEventHandler<Pod>() {
      @Override
      public void onAdd(Pod pod) {
        informed.add("added " + pod.getMetadata().getName());
      }

      @Override
      public void onUpdate(Pod before, Pod after) {}

      @Override
      public void onDelete(Pod pod, boolean unknown) {
        informed.add("deleted " + pod.getMetadata().getName());
      }
    };
  }
}
