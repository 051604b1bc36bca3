# The Ruby client that Fluentd's metadata filter is built on: it watches by the legacy paths. Argument: a namespace.
require 'kubeclient'

namespace = ARGV.fetch(0)
context = Kubeclient::Config.read(ENV.fetch('KUBECONFIG')).context
access = { ssl_options: context.ssl_options, auth_options: context.auth_options }
core = Kubeclient::Client.new(context.api_endpoint, 'v1', **access)
apps = Kubeclient::Client.new("#{context.api_endpoint}/apis/apps", 'v1', **access)

def expect(wanted, found)
  raise "#{found.inspect} instead of #{wanted.inspect}" unless wanted == found
end

expect true, core.api_valid?
expect true, core.get_nodes.any?
made = core.create_config_map(Kubeclient::Resource.new(metadata: { name: 'ruby', namespace: namespace }, data: { a: '1' }))

watchers = [
  core.watch_config_maps(namespace: namespace, name: 'ruby'),
  core.watch_config_maps(namespace: namespace, resource_version: made.metadata.resourceVersion)
]
threads = watchers.map do |watcher|
  Thread.new do
    seen = []
    watcher.each do |event|
      seen << event.type
      watcher.finish if event.type == 'DELETED'
    end
    seen
  end
end

expect({ a: '1', b: '2' }, core.merge_patch_config_map('ruby', { data: { b: '2' } }, namespace).data.to_h)
expect({ a: '1', b: '2', c: '3' }, core.patch_config_map('ruby', { data: { c: '3' } }, namespace).data.to_h)
without = core.json_patch_config_map('ruby', [{ op: 'remove', path: '/data/a' }], namespace)
expect({ b: '2', c: '3' }, without.data.to_h)
without.data.d = '4'
expect({ b: '2', c: '3', d: '4' }, core.update_config_map(without).data.to_h)
begin
  core.update_config_map(made)
  raise 'a stale update was taken'
rescue Kubeclient::HttpError => e
  expect 409, e.error_code
end
page = core.get_config_maps(namespace: namespace, limit: 1)
expect [1, false], [page.size, page.last?]
expect true, core.get_config_maps(namespace: namespace, limit: 10, continue: page.continue).last?
expect [], apps.get_deployments(namespace: namespace).to_a
begin
  core.get_pod('none', namespace)
  raise 'what is not there was found'
rescue Kubeclient::ResourceNotFoundError => e
  expect 'pods "none" not found', e.message
end
expect true, core.all_entities(namespace: namespace).key?('config_map')
core.delete_config_map('ruby', namespace)

by_name, since = threads.map { |thread| thread.join(30) ? thread.value : raise('a watch did not end') }
expect %w[MODIFIED MODIFIED MODIFIED MODIFIED DELETED], since
# This one began without a version: with what was there, or with what came of it meanwhile.
expect ['ADDED', 'DELETED'], [by_name.first, by_name.last]
