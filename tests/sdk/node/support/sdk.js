// The stock SDKs, from where tests/sdk/install put them.

'use strict';

const { createRequire } = require('node:module');
const path = require('node:path');

const folder = process.env.HUB_SDK_DIR || path.resolve(__dirname, '../../../../target/sdk');
const load = createRequire(path.join(folder, 'node', 'package.json'));

const device = load('azure-iot-device');
const { Mqtt, MqttWs } = load('azure-iot-device-mqtt');
const { Http } = load('azure-iot-device-http');
const { Amqp, AmqpWs } = load('azure-iot-device-amqp');
const eventHubs = load('@azure/event-hubs');
const WebSocket = load('ws');
const { BlockBlobClient, ContainerClient } = load('@azure/storage-blob');
const service = load('azure-iothub');
const { errors, NoRetry, ExponentialBackOffWithJitter } = load('azure-iot-common');

module.exports = {
  DeviceClient: device.Client,
  ModuleClient: device.ModuleClient,
  Message: device.Message,
  Mqtt,
  MqttWs,
  Http,
  Amqp,
  AmqpWs,
  eventHubs,
  WebSocket,
  ServiceAmqp: service.Amqp,
  ServiceAmqpWs: service.AmqpWs,
  BlockBlobClient,
  ContainerClient,
  Registry: service.Registry,
  ServiceClient: service.Client,
  JobClient: service.JobClient,
  DigitalTwinClient: service.DigitalTwinClient,
  IoTHubTokenCredentials: service.IoTHubTokenCredentials,
  errors,
  NoRetry,
  ExponentialBackOffWithJitter,
};
