// The official JavaScript client: objects, the four patches, an informer, a command. Arguments: a namespace and an image.
import assert from 'node:assert';
import { Writable } from 'node:stream';
import * as k8s from '@kubernetes/client-node';

const [namespace, image] = process.argv.slice(2);
const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);
const patchType = (value) => k8s.setHeaderOptions('Content-Type', value);
const until = async (what, check) => {
  for (let left = 600; left; left--) {
    if (await check()) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`not in a minute: ${what}`);
};

async function objects() {
  await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'js', labels: { js: 'yes' } }, data: { a: '1' } } });
  const patch = (type, body, more = {}) =>
    core.patchNamespacedConfigMap({ namespace, name: 'js', body, ...more }, patchType(type));
  await patch(k8s.PatchStrategy.JsonPatch, [{ op: 'add', path: '/data/b', value: '2' }]);
  await patch(k8s.PatchStrategy.MergePatch, { data: { a: null } });
  await patch(k8s.PatchStrategy.StrategicMergePatch, { data: { c: '3' } });
  const applied = await patch(
    k8s.PatchStrategy.ServerSideApply,
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'js' }, data: { d: '4' } },
    { fieldManager: 'js', force: true },
  );
  assert.deepStrictEqual(applied.data, { b: '2', c: '3', d: '4' });
  const listed = await core.listNamespacedConfigMap({ namespace, labelSelector: 'js' });
  assert.strictEqual(listed.items.length, 1);
  await assert.rejects(core.readNamespacedConfigMap({ namespace, name: 'none' }), (error) => error.code === 404);
  const loader = k8s.KubernetesObjectApi.makeApiClient(config);
  await loader.create({ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'js', namespace }, stringData: { a: 'b' } });
  const secret = await loader.read({ apiVersion: 'v1', kind: 'Secret', metadata: { name: 'js', namespace } });
  assert.strictEqual(Buffer.from(secret.data.a, 'base64').toString(), 'b');
}

async function workloads() {
  const seen = [];
  const list = () => core.listNamespacedPod({ namespace });
  const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/pods`, list);
  for (const event of ['add', 'update', 'delete']) informer.on(event, (pod) => seen.push([event, pod.status.phase]));
  await informer.start();
  const matchLabels = { app: 'js' };
  const containers = [{ name: 'main', image, imagePullPolicy: 'IfNotPresent', command: ['sh', '-c', 'echo started; sleep 1000'] }];
  const template = { metadata: { labels: matchLabels }, spec: { terminationGracePeriodSeconds: 0, containers } };
  const body = { metadata: { name: 'js' }, spec: { replicas: 1, selector: { matchLabels }, template } };
  await apps.createNamespacedDeployment({ namespace, body });
  await until('ready', async () => (await apps.readNamespacedDeployment({ namespace, name: 'js' })).status.readyReplicas === 1);
  const pod = (await list()).items[0].metadata.name;
  if (image.startsWith('localhost/')) await streams(pod);
  await apps.deleteNamespacedDeployment({ namespace, name: 'js', propagationPolicy: 'Foreground' });
  await until('deleted', () => seen.some(([event]) => event === 'delete'));
  await informer.stop();
  assert.strictEqual(seen[0][0], 'add');
  assert(seen.some(([event, phase]) => event === 'update' && phase === 'Running'));
}

async function streams(pod) {
  let output = '';
  const stdout = new Writable({ write: (chunk, _, done) => { output += chunk; done(); } });
  const status = await new Promise((resolve, reject) => {
    new k8s.Exec(config)
      .exec(namespace, pod, 'main', ['sh', '-c', 'echo hello; exit 6'], stdout, null, null, false, resolve)
      .catch(reject);
  });
  assert.strictEqual(status.details.causes[0].message, '6');
  await until('output', () => output === 'hello\n');
  let logged = '';
  const sink = new Writable({ write: (chunk, _, done) => { logged += chunk; done(); } });
  await new k8s.Log(config).log(namespace, pod, 'main', sink, { follow: true });
  await until('logs', () => logged === 'started\n');
}

await objects();
await workloads();
process.exit(0);
