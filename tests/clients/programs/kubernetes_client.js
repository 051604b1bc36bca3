// The client that learns all its methods from /openapi/v2 as it starts. Argument: a namespace.
const assert = require('node:assert');
const { Client, KubeConfig } = require('kubernetes-client');
const Request = require('kubernetes-client/backends/request');

(async () => {
  const kubeconfig = new KubeConfig();
  kubeconfig.loadFromDefault();
  const client = new Client({ backend: new Request({ kubeconfig }) });
  await client.loadSpec();
  const here = client.api.v1.namespaces(process.argv[2]);
  const made = await here.configmaps.post({ body: { metadata: { name: 'js' }, data: { a: '1' } } });
  assert.strictEqual(made.statusCode, 201);
  const patched = await here.configmaps('js').patch({ body: { data: { b: '2' } } });
  assert.deepStrictEqual(patched.body.data, { a: '1', b: '2' });
  const stream = await client.api.v1.watch.namespaces(process.argv[2]).configmaps.getObjectStream();
  for await (const event of stream) {
    if (event.object.metadata.name !== 'js') continue;
    assert.strictEqual(event.type, 'ADDED');
    break;
  }
  assert.deepStrictEqual((await client.apis.apps.v1.namespaces(process.argv[2]).deployments.get()).body.items, []);
  assert.strictEqual((await here.configmaps('js').delete()).body.status, 'Success');
  process.exit(0);
})().catch((error) => { console.error(error); process.exit(1); });
