import type { SubscriptionInfo } from '@eventstore/db-client/generated/persistent_pb.js';
import persistent from '@eventstore/db-client/generated/persistent_pb.js';
import type { GroupInfo } from '../persistent-subscriptions/group-info.ts';

const toConnection = (consumer: GroupInfo['consumers'][number]): SubscriptionInfo.ConnectionInfo =>
  new persistent.SubscriptionInfo.ConnectionInfo()
    .setFrom(consumer.from)
    .setUsername(consumer.userName)
    .setConnectionName(consumer.connectionName)
    .setAverageItemsPerSecond(consumer.perSecond)
    .setTotalItems(String(consumer.totalItems))
    .setCountSinceLastMeasurement(String(consumer.itemsSinceLast))
    .setAvailableSlots(consumer.availableSlots)
    .setInFlightMessages(consumer.inFlight)
    .setObservedMeasurementsList(
      consumer.measurements.map(([name, value]) =>
        new persistent.SubscriptionInfo.Measurement().setKey(name).setValue(String(value)),
      ),
    );

const withSettings = (to: SubscriptionInfo, { config, startFrom }: GroupInfo): SubscriptionInfo => {
  const { settings } = config;
  return to
    .setEventSource(config.eventSource)
    .setGroupName(config.groupName)
    .setStartFrom(startFrom)
    .setResolveLinkTos(settings.resolveLinks)
    .setExtraStatistics(settings.extraStatistics)
    .setMessageTimeoutMilliseconds(settings.messageTimeoutMs)
    .setMaxRetryCount(settings.maxRetryCount)
    .setCheckPointAfterMilliseconds(settings.checkpointAfterMs)
    .setMinCheckPointCount(settings.minCheckpointCount)
    .setMaxCheckPointCount(settings.maxCheckpointCount)
    .setMaxSubscriberCount(settings.maxSubscriberCount)
    .setLiveBufferSize(settings.liveBufferSize)
    .setBufferSize(settings.historyBufferSize)
    .setReadBatchSize(settings.readBatchSize)
    .setNamedConsumerStrategy(settings.strategy);
};

export const toSubscriptionInfo = (info: GroupInfo): SubscriptionInfo =>
  withSettings(new persistent.SubscriptionInfo(), info)
    .setStatus(info.status)
    .setConnectionsList(info.consumers.map(toConnection))
    .setAveragePerSecond(info.items.perSecond)
    .setTotalItems(String(info.items.total))
    .setCountSinceLastMeasurement(String(info.items.sinceLast))
    .setLastCheckpointedEventPosition(info.lastCheckpoint)
    .setLastKnownEventPosition(info.lastKnown)
    .setReadBufferCount(info.freshCount)
    .setLiveBufferCount(String(info.liveCount))
    .setRetryBufferCount(info.retryCount)
    .setTotalInFlightMessages(info.inFlight)
    .setOutstandingMessagesCount(info.outCount)
    .setParkedMessageCount(String(info.parkedCount));
